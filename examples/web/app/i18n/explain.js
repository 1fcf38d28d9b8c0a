// What went wrong, in the reader's words.

import { knows, t, write } from "./i18n.js";

/** @import {Trouble} from "../store/types.js" */

/** @param {Trouble} trouble @returns {string} the key of its text, "" where there is none */
const keyOf = ({ code }) => (knows(`error.${code}`) ? `error.${code}` : "");

/** @param {Trouble} trouble @returns {string} one short sentence; the server's own where we know none */
export function explain(trouble) {
  const key = keyOf(trouble);
  return key ? t(key) : trouble.detail || trouble.code;
}

/**
 * Let `element` say what went wrong; the server's detail, which knows more, stands behind the mouse.
 * @param {HTMLElement} element
 * @param {Trouble} trouble
 */
export function writeTrouble(element, trouble) {
  const key = keyOf(trouble);
  write(element, key);
  if (!key) element.textContent = trouble.detail || trouble.code;
  element.title = trouble.detail;
}
