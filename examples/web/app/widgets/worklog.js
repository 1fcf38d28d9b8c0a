// The worklog: what happened to the instances, oldest first, and who asked for it.

import { offsetOf } from "../store/cursor.js";
import { worklogElement } from "./entries.js";
import { LogView } from "./log_view.js";
import { showPast } from "./past.js";
import { meant, touched, Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

export class Worklog extends Widget {
  static lists = ["worklog", "past"];
  /** @type {LogView} */
  #view = /** @type {any} */ (null);

  /** */
  prepare() {
    this.#view = new LogView(this.find(".scroller"), this.find(".list"), () => this.#moved());
    this.addEventListener("click", ({ target }) => {
      if (meant(target, "[data-action=older]")) void this.store.older("worklog");
    });
  }

  /** @param {Changes} changes */
  update(changes) {
    const { worklog, past } = this.store;
    const { entries } = this.#view;
    this.#view.change(() => {
      if (changes.get("worklog") === null) {
        entries.clear();
        this.#view.stuck = true;
      }
      for (const cursor of touched(changes, "worklog", worklog)) {
        const event = worklog.get(cursor);
        if (event) entries.put(cursor, offsetOf(cursor), worklogElement(event));
        else entries.delete(cursor);
      }
      if (changes.has("past")) showPast(this.find(".past"), past.worklog);
    });
    this.find(".scroller").ariaBusy = String(past.worklog.state === "loading");
    this.find(".empty").hidden = worklog.size > 0 || !this.store.cursor;
    this.#moved();
  }

  #moved() {
    if (this.#view.nearTop && this.store.past.worklog.state === "more") void this.store.older("worklog");
  }
}

customElements.define("cc-worklog", Worklog);
