// Where a client keeps its token, its nickname and its unanswered commands.

/** @import {Memory} from "./types.js" */

/**
 * A memory that ends with the page.
 * @returns {Memory}
 */
export function volatileMemory() {
  const values = new Map();
  return {
    get: (key) => values.get(key) ?? null,
    set: (key, value) => void values.set(key, value),
    delete: (key) => void values.delete(key),
  };
}

/**
 * A memory that lives as long as the tab, over reloads. It forgets where the browser lets it keep nothing (storage is
 * switched off, or full): the client goes on, a reload is then a new beginning.
 * @param {Storage} [storage]
 * @returns {Memory}
 */
export function sessionMemory(storage) {
  const fallback = volatileMemory();
  /** @type {Storage | undefined} */
  let place;
  try {
    place = storage ?? globalThis.sessionStorage;
  } catch {
    return fallback;
  }
  if (!place) return fallback;
  const kept = place;
  return {
    get: (key) => kept.getItem(key),
    set(key, value) {
      try {
        kept.setItem(key, value);
      } catch {
        // An older value would be worse than none: it would have things done again that were answered.
        kept.removeItem(key);
      }
    },
    delete: (key) => kept.removeItem(key),
  };
}
