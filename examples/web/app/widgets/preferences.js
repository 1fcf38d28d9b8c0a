// What the reader chose, for all pages of this browser, where the browser lets it be kept.

/** @typedef {"language" | "events" | "notify"} Preference */

/** @param {Preference} name */
export function remembered(name) {
  try {
    return localStorage.getItem(`cloudchat.${name}`) ?? "";
  } catch {
    return "";
  }
}

/** @param {Preference} name @param {string} value */
export function remember(name, value) {
  try {
    localStorage.setItem(`cloudchat.${name}`, value);
  } catch {
    // Then it holds until the page is left.
  }
}
