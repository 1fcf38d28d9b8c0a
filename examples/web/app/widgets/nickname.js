// The dialog that asks for a nickname: at the beginning, to change it, and when it was lost.

import { explain } from "../i18n/explain.js";
import { write } from "../i18n/i18n.js";
import { meant, Widget } from "./widget.js";

/** @import {Changes, Trouble} from "../store/types.js" */

export class Nickname extends Widget {
  static lists = ["me"];
  /** @type {HTMLDialogElement} */
  #dialog = /** @type {any} */ (null);
  /** @type {HTMLInputElement} */
  #field = /** @type {any} */ (null);
  /** Counts what was tried: where several answers come, the last one counts. */
  #tries = 0;

  /** */
  prepare() {
    this.#dialog = this.find("dialog");
    this.#field = this.find("input");
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#join(this.#field.value);
    });
    this.find(".suggestions").addEventListener("click", ({ target }) => {
      const chosen = meant(target, "button")?.textContent;
      if (chosen) void this.#join(chosen);
    });
    this.find(".cancel").addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("close", () => this.store.me.ask(false));
  }

  /** @param {Changes} _changes */
  update(_changes) {
    if (!this.store.me.asking) this.#dialog.close();
    else if (!this.#dialog.open) {
      this.#field.value = this.store.me.nickname || this.store.me.last;
      this.#explain(this.store.me.lost);
      write(this.find(".cancel"), this.store.me.nickname ? "cancel" : "nickname.cancel");
      this.#dialog.showModal();
      this.#field.select();
    }
  }

  /** @param {string} nickname */
  async #join(nickname) {
    const tried = (this.#tries += 1);
    this.#setBusy(true);
    const trouble = await this.store.me.join(nickname);
    if (tried !== this.#tries) return;
    this.#setBusy(false);
    if (!trouble) return this.#dialog.close();
    this.#field.value = nickname;
    this.#explain(trouble);
    this.#field.focus();
    this.#field.select();
  }

  /** @param {boolean} busy */
  #setBusy(busy) {
    const button = this.find("[type=submit]");
    button.ariaDisabled = String(busy);
    button.ariaBusy = String(busy);
  }

  /** @param {Trouble | null} trouble */
  #explain(trouble) {
    const error = this.find(".error");
    error.hidden = !trouble;
    this.#field.ariaInvalid = String(!!trouble);
    if (trouble) error.textContent = explain(trouble);
    const suggestions = trouble?.suggestions ?? [];
    this.find(".offer").hidden = suggestions.length === 0;
    this.find(".suggestions").replaceChildren(...suggestions.map(suggestionButton));
  }
}

/** @param {string} nickname */
function suggestionButton(nickname) {
  const button = document.createElement("button");
  button.type = "button";
  button.dir = "auto";
  button.textContent = nickname;
  return button;
}

customElements.define("cc-nickname", Nickname);
