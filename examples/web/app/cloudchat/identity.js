// Who this tab is: a token that lives as long as the tab, and belongs to one tab alone.
//
// Theory of operation. A reload finds the token in the tab's memory; so does a tab that was duplicated, since browsers
// copy that. So each page holds, while it lives, a lock named after the tab (not after the token, which is a secret). A
// reload frees it at once or nearly so; where it cannot be had, the original still lives, and this tab is a copy.
// Locks exist on https and localhost only; elsewhere a copy is not noticed.

/** @import {Platform} from "./types.js" */

const PATIENCE = 500;

/**
 * @param {Platform} platform
 * @param {number} bytes
 * @returns {string} Random, of `A-Za-z0-9_-`.
 */
export function randomName(platform, bytes) {
  const values = platform.getRandomValues(new Uint8Array(bytes));
  return btoa(String.fromCharCode(...values))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}

/**
 * @param {Platform} platform
 * @returns {string} A UUID (version 4); `crypto.randomUUID` exists on https and localhost only.
 */
export function randomId(platform) {
  const values = platform.getRandomValues(new Uint8Array(16));
  values[6] = (values[6] & 0x0f) | 0x40;
  values[8] = (values[8] & 0x3f) | 0x80;
  const hex = Array.from(values, (value) => value.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/**
 * Hold the lock `name` until `ended` says so, or the page is gone.
 * @param {Platform} platform
 * @param {string} name
 * @param {Promise<void>} ended
 * @returns {Promise<boolean>} Whether it could be had.
 */
export function hold(platform, name, ended) {
  const { locks } = platform;
  if (!locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    const waiting = new AbortController();
    const timer = platform.setTimeout(() => waiting.abort(), PATIENCE);
    const held = locks.request(name, { signal: waiting.signal }, () => {
      platform.clearTimeout(timer);
      resolve(true);
      return ended;
    });
    held.catch((error) => {
      platform.clearTimeout(timer);
      // Where locks are forbidden (an opaque origin), there is nothing to find out.
      resolve(error?.name !== "AbortError");
    });
  });
}
