// On a narrow screen one pane at a time, chosen by tabs (the ARIA pattern, arrows and all); on a wide one all of them.
// So this is also who knows whether the messages are being looked at.

import { meant, part, Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

const narrow = matchMedia("(max-width: 699px)");

export class Tabs extends Widget {
  static lists = ["unread"];
  #chosen = "chat";

  /** */
  prepare() {
    this.addEventListener("click", ({ target }) => this.#choose(meant(target, "[role=tab]")?.dataset.pane));
    this.addEventListener("keydown", (event) => this.#pressed(event));
    narrow.addEventListener("change", () => this.#show());
    document.addEventListener("visibilitychange", () => this.#look());
    this.#show();
  }

  /** @param {Changes} _changes */
  update(_changes) {
    const badge = this.find(".badge");
    badge.hidden = this.store.unread === 0;
    badge.textContent = String(this.store.unread);
  }

  get #tabs() {
    return [.../** @type {NodeListOf<HTMLElement>} */ (this.querySelectorAll("[role=tab]"))];
  }

  /** @param {KeyboardEvent} event */
  #pressed(event) {
    const tabs = this.#tabs;
    const here = tabs.findIndex((tab) => tab.dataset.pane === this.#chosen);
    const steps = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: -1 };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const to = steps[/** @type {keyof typeof steps} */ (event.key)];
    const tab = tabs.at(to % tabs.length);
    this.#choose(tab?.dataset.pane);
    tab?.focus();
  }

  /** @param {string | undefined} pane */
  #choose(pane) {
    if (pane) this.#chosen = pane;
    this.#show();
  }

  #show() {
    for (const tab of this.#tabs) {
      const chosen = tab.dataset.pane === this.#chosen;
      tab.ariaSelected = String(chosen);
      tab.tabIndex = chosen ? 0 : -1;
      const pane = part(document, `#${tab.getAttribute("aria-controls")}`);
      pane.classList.toggle("chosen", chosen);
      // Only where there are tabs are panes theirs; else they are regions of the page, named by their headings.
      if (narrow.matches) pane.setAttribute("role", "tabpanel");
      else pane.removeAttribute("role");
    }
    this.#look();
  }

  #look() {
    this.store.look(!document.hidden && (!narrow.matches || this.#chosen === "chat"));
  }
}

customElements.define("cc-tabs", Tabs);
