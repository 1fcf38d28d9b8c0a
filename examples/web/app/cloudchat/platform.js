// The browser, as far as the client touches it.

/** @import {Platform} from "./types.js" */

/** Beyond it a timer fires at once. */
const LONGEST = 2 ** 31 - 1;

/**
 * `locks` (and so sharing between tabs) exists on https and on localhost only.
 * @returns {Platform}
 */
export function browserPlatform() {
  const here = /** @type {typeof globalThis & {document?: Document}} */ (globalThis);
  return {
    fetch: (input, init) => here.fetch(input, init),
    WebSocket: here.WebSocket,
    setTimeout: (callback, ms) => /** @type {any} */ (here.setTimeout(callback, Math.min(ms, LONGEST))),
    clearTimeout: (timer) => here.clearTimeout(timer),
    now: () => Date.now(),
    random: () => Math.random(),
    getRandomValues: (bytes) => here.crypto.getRandomValues(bytes),
    locks: here.navigator?.locks,
    BroadcastChannel: here.BroadcastChannel,
    events: typeof here.addEventListener === "function" ? here : undefined,
    document: here.document,
    origin: here.location?.origin ?? "",
    online: () => here.navigator?.onLine !== false,
  };
}
