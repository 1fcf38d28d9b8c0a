// One question before what cannot be undone.

import { write } from "../i18n/i18n.js";
import { part } from "./widget.js";

/**
 * Ask, and wait for the answer. `question` names the texts: `<question>.title`, `.text` and `.action`.
 * @param {"leave" | "redact" | "remove"} question
 * @param {string} [about] what it is about, foreign text
 * @returns {Promise<boolean>}
 */
export function confirmed(question, about = "") {
  const dialog = /** @type {HTMLDialogElement} */ (part(document, "dialog.confirm"));
  write(part(dialog, "h2"), `${question}.title`);
  write(part(dialog, ".explanation"), `${question}.text`);
  write(part(dialog, "[value=yes]"), `${question}.action`);
  const subject = part(dialog, ".about");
  subject.hidden = !about;
  subject.textContent = about;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}
