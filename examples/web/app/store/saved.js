// What outlives a reload: the folded lists with the cursor that they stand at, what we wrote and did not send, and what
// is ours. They are saved together when the page goes, so that the feed goes on exactly where they end.
//
// Storage is somebody else's: it may be full, switched off, or hold what another version or a curious person left. What
// does not fit is saved in part, what does not look right is as good as nothing.

/** @import {Contents} from "./fold.js" */
/** @import {Unsent} from "./types.js" */

/**
 * `own` are the cursors of our messages, `reading` is the message at the top of the screen, "" at the newest.
 * @typedef {Contents & {unsent: Unsent[], own: string[], draft: string, reading: string}} Saved
 */

/** What the strings of each entry are called, without which nothing can be shown. */
const SHAPES = {
  participants: ["nickname", "since"],
  messages: ["cursor", "at", "nickname", "text"],
  instances: ["id", "state"],
  operations: ["id", "command", "instance", "received_at"],
  worklog: ["type", "cursor", "at"],
  unsent: ["ref", "text", "at", "state"],
};
const VERSION = 1;
/** How many of the newest messages and worklog entries are kept: as many as there is room for. */
const SIZES = [500, 200, 50];

/**
 * @param {Storage} storage
 * @param {string} key
 * @param {Saved} state
 */
export function save(storage, key, state) {
  for (const size of SIZES) {
    const messages = state.messages.slice(-size);
    const worklog = state.worklog.slice(-size);
    const held = new Set(messages.map((message) => message.cursor));
    const own = state.own.filter((cursor) => held.has(cursor));
    try {
      storage.setItem(key, JSON.stringify({ version: VERSION, ...state, messages, worklog, own }));
      return;
    } catch {
      // Full: a smaller part may fit. An older state must not stay, its cursor would belong to other lists.
      remove(storage, key);
    }
  }
}

/**
 * @param {Storage} storage
 * @param {string} key
 * @returns {Saved | null}
 */
export function restore(storage, key) {
  try {
    const state = JSON.parse(storage.getItem(key) ?? "null");
    return isSaved(state) ? state : null;
  } catch {
    return null;
  }
}

/** @param {Storage} storage @param {string} key */
function remove(storage, key) {
  try {
    storage.removeItem(key);
  } catch {
    // Switched off: then nothing stays either.
  }
}

/** @param {any} state @returns {state is Saved} */
function isSaved(state) {
  return (
    state?.version === VERSION &&
    hasStrings(state, ["cursor", "draft", "reading"]) &&
    // A server would refuse a longer one, at each attempt.
    state.cursor.length <= 128 &&
    Object.entries(SHAPES).every(
      ([list, keys]) =>
        Array.isArray(state[list]) && state[list].every((/** @type {any} */ one) => hasStrings(one, keys)),
    ) &&
    state.worklog.every(
      (/** @type {any} */ one) => hasStrings(one.instance, ["id"]) && hasStrings(one.operation, ["command"]),
    ) &&
    Array.isArray(state.own) &&
    state.own.every((/** @type {any} */ cursor) => typeof cursor === "string") &&
    (state.loss === null || hasStrings(state.loss, ["after", "reason", "before"]))
  );
}

/** @param {any} value @param {readonly string[]} keys */
function hasStrings(value, keys) {
  return typeof value === "object" && value !== null && keys.every((key) => typeof value[key] === "string");
}
