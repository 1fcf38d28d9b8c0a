// Where messages are written. Enter sends, Shift+Enter breaks the line, and an input method keeps its Enter.

import { write } from "../i18n/i18n.js";
import { Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

/** So near to the limit (code points) it is said how much is left. */
const NEAR = 200;

export class Composer extends Widget {
  static lists = ["me"];
  /** @type {HTMLTextAreaElement} */
  #field = /** @type {any} */ (null);
  #hadNickname = false;

  /** */
  prepare() {
    this.#field = this.find("textarea");
    this.#field.value = this.store.draft;
    this.#field.addEventListener("input", () => this.#written());
    this.#field.addEventListener("keydown", (event) => this.#pressed(event));
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#send();
    });
    this.find(".join").addEventListener("click", () => this.store.me.ask(true));
    this.#written();
  }

  /** @param {Changes} _changes */
  update(_changes) {
    const inside = this.store.me.nickname !== "";
    this.find("form").hidden = !inside;
    this.find(".join").hidden = inside;
    // Where the focus is on nothing, or still in the dialog that has just been closed, one may write at once.
    const { activeElement: focused } = document;
    const free = !focused || focused === document.body || !focused.checkVisibility();
    if (inside && !this.#hadNickname && free) this.#field.focus();
    this.#hadNickname = inside;
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    // 229: what some browsers say while an input method is composing.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.#send();
  }

  #send() {
    const text = this.#field.value.trim();
    if (!text || this.#left(text) < 0) return;
    this.store.say(text);
    this.#field.value = "";
    this.#written();
    this.#field.focus();
  }

  /** @param {string} text @returns {number} how many code points there is room for; below 0: too many */
  #left(text) {
    return this.store.limits.text - [...text].length;
  }

  #written() {
    const { value } = this.#field;
    this.store.draft = value;
    // The field is as high as this copy of its text, without anybody measuring.
    this.find(".grow").dataset.text = value;
    const left = value.length + NEAR < this.store.limits.text ? Infinity : this.#left(value.trim());
    const hint = this.find(".left");
    hint.hidden = left > NEAR;
    if (left <= NEAR) write(hint, left < 0 ? "message.over" : "message.left", { count: Math.abs(left) });
    this.#field.ariaInvalid = String(left < 0);
  }
}

customElements.define("cc-composer", Composer);
