// The reader's own menu: nickname, language, notifications. It opens from the page's head and from "You".

import { currentLanguage, speak, write } from "../i18n/i18n.js";
import { allowNotifications, notificationsAllowed, notificationsDenied } from "./attention.js";
import { confirmed } from "./confirm.js";
import { remember } from "./preferences.js";
import { meant, Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

export class Menu extends Widget {
  static lists = ["me"];
  /** @type {HTMLElement} */
  #panel = /** @type {any} */ (null);

  /** */
  prepare() {
    this.#panel = this.find("[popover]");
    this.addEventListener("click", ({ target }) => void this.#clicked(target));
    this.addEventListener("change", ({ target }) => void this.#changed(target));
    // The panel opens where it was asked for.
    document.addEventListener("click", ({ target }) => {
      const opener = meant(target, "[popovertarget]");
      if (opener) this.#moveTo(opener.getBoundingClientRect());
    });
    this.#showLanguage();
  }

  #showLanguage() {
    for (const field of this.querySelectorAll("[name=language]"))
      if (field instanceof HTMLInputElement) field.checked = field.value === currentLanguage();
  }

  /** @param {Changes} _changes */
  update(_changes) {
    const { nickname } = this.store.me;
    write(this.find(".as"), nickname ? "menu.as" : "menu.out");
    this.find(".own-name").textContent = nickname;
    this.find("[data-action=leave]").hidden = !nickname;
    write(this.find("[data-action=nickname]"), nickname ? "menu.change" : "menu.join");
    this.#showNotify();
  }

  #showNotify() {
    /** @type {HTMLInputElement} */
    const notify = this.find("[name=notify]");
    notify.checked = notificationsAllowed();
    notify.disabled = notificationsDenied();
    write(this.find(".notify-hint"), notificationsDenied() ? "menu.notify.denied" : "menu.notify.hint");
  }

  /** @param {DOMRect} opener */
  #moveTo({ left, right, bottom }) {
    const near = left < innerWidth / 2 ? left : Math.max(8, right - 288);
    this.#panel.style.setProperty("--x", `${near}px`);
    this.#panel.style.setProperty("--y", `${bottom + 6}px`);
  }

  /** @param {EventTarget | null} target */
  async #clicked(target) {
    const action = meant(target, "button")?.dataset.action;
    if (!action) return;
    this.#panel.hidePopover();
    if (action === "nickname") this.store.me.ask(true);
    else if (action === "leave" && (await confirmed("leave", this.store.me.nickname))) void this.store.me.leave();
  }

  /** @param {EventTarget | null} target */
  async #changed(target) {
    if (!(target instanceof HTMLInputElement)) return;
    if (target.name === "language") {
      // Its texts may not be had just now: then it stays as it is.
      await speak(target.value).catch(() => {});
      this.#showLanguage();
      remember("language", currentLanguage());
    } else {
      await allowNotifications(target.checked);
      this.#showNotify();
    }
  }
}

customElements.define("cc-menu", Menu);
