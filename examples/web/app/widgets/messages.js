// The messages, with what else belongs to the same time: days, a loss, and, if the reader wants them, the events of the
// instances as quiet lines. All are entries of one log in the order of their offsets; log_view.js does the scrolling.

import { offsetOf } from "../store/cursor.js";
import { write } from "../i18n/i18n.js";
import { confirmed } from "./confirm.js";
import { messageElement, quietElement, unsentElement } from "./entries.js";
import { LogView } from "./log_view.js";
import { showPast } from "./past.js";
import { remember, remembered } from "./preferences.js";
import { Timeline } from "./timeline.js";
import { meant, touched, Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

/** Messages that the server has not placed yet stand after all others. */
const UNPLACED = 2 ** 53;

export class Messages extends Widget {
  static lists = ["messages", "unsent", "worklog", "past", "loss"];
  /** @type {LogView} */
  #view = /** @type {any} */ (null);
  /** @type {Timeline} */
  #timeline = /** @type {any} */ (null);
  #events = remembered("events") === "yes";
  /** How many messages have come below what the reader sees, and the order of the newest message. */
  #fresh = 0;
  #newest = 0;
  #written = 0;

  /** */
  prepare() {
    this.#view = new LogView(this.find(".scroller"), this.find(".list"), () => this.#moved());
    this.#timeline = new Timeline(this.#view.entries);
    /** @type {HTMLInputElement} */
    const toggle = this.find(".events input");
    toggle.checked = this.#events;
    toggle.addEventListener("change", () => this.#showEvents(toggle.checked));
    this.addEventListener("click", (event) => void this.#clicked(event.target));
    addEventListener("pagehide", () => (this.store.reading = this.#view.place));
  }

  /** @param {Changes} changes */
  update(changes) {
    const { messages, unsent, past, reading } = this.store;
    const begins = this.#view.entries.size === 0;
    const log = this.find(".scroller");
    const focused = log.contains(document.activeElement);
    this.#view.change(() => {
      if (changes.get("messages") === null) this.#clear();
      for (const cursor of touched(changes, "messages", messages)) this.#putMessage(cursor);
      for (const ref of touched(changes, "unsent", unsent)) this.#putUnsent(ref);
      if (this.#events) this.#putEvents(changes);
      if (changes.has("loss")) this.#putLoss();
      if (changes.has("past")) showPast(this.find(".past"), past.messages);
    });
    log.ariaBusy = String(past.messages.state === "loading");
    // The focused button may have gone with what it was for.
    if (focused && !log.contains(document.activeElement)) log.focus({ preventScroll: true });
    if (begins && reading) {
      this.store.reading = "";
      this.#view.toPlace(reading);
    }
    this.#moved();
  }

  /** The lists were replaced: begin at the end of what there is now. */
  #clear() {
    this.#timeline.clear();
    this.#view.stuck = true;
    this.#fresh = 0;
    this.#newest = 0;
    for (const ref of this.store.unsent.keys()) this.#putUnsent(ref);
  }

  /** @param {string} cursor */
  #putMessage(cursor) {
    const message = this.store.messages.get(cursor);
    if (!message) return this.#timeline.delete(cursor);
    const order = offsetOf(cursor);
    const own = this.store.isOwn(message);
    this.#timeline.put(cursor, order, message.at, messageElement(message, own, this.store.troubleOf(cursor)));
    if (order <= this.#newest) return;
    this.#newest = order;
    if (!this.#view.stuck && !own) this.#fresh += 1;
  }

  /** @param {string} ref */
  #putUnsent(ref) {
    const key = `ref:${ref}`;
    const unsent = this.store.unsent.get(ref);
    if (!unsent) return this.#view.entries.delete(key);
    const known = this.#view.entries.orderOf(key);
    // Who writes wants to see it.
    if (known === undefined) this.#view.stuck = true;
    this.#written += 1;
    this.#view.entries.put(key, known ?? UNPLACED + this.#written, unsentElement(unsent));
  }

  /** @param {Changes} changes */
  #putEvents(changes) {
    const { messages, worklog, past } = this.store;
    // Where older messages have come, older events find their place too.
    const keys = changes.has("past") ? worklog.keys() : touched(changes, "worklog", worklog);
    const [oldest] = messages.keys();
    const begin = oldest === undefined || past.messages.state === "end" ? 0 : offsetOf(oldest);
    for (const cursor of keys) {
      const key = `event:${cursor}`;
      const event = worklog.get(cursor);
      const order = offsetOf(cursor);
      if (!event) this.#timeline.delete(key);
      else if (order >= begin && !this.#view.entries.get(key))
        this.#timeline.put(key, order, event.at, quietElement(event));
    }
  }

  #putLoss() {
    const { loss, messages } = this.store;
    if (!loss) return this.#view.entries.delete("loss");
    const line = document.createElement("p");
    line.className = "gap";
    write(line, loss.reason === "retention" ? "loss.retention" : "loss.epoch");
    const [oldest] = messages.keys();
    this.#view.entries.put("loss", offsetOf(oldest ?? loss.before) - 0.6, line);
  }

  /** @param {boolean} wanted */
  #showEvents(wanted) {
    this.#events = wanted;
    remember("events", wanted ? "yes" : "");
    this.#view.change(() => {
      if (wanted) this.#putEvents(new Map([["worklog", null]]));
      else for (const cursor of this.store.worklog.keys()) this.#timeline.delete(`event:${cursor}`);
    });
    this.#moved();
  }

  /** Whatever there is to do once the view stands still. */
  #moved() {
    this.find(".empty").hidden = this.#view.entries.size > 0 || !this.store.cursor;
    if (this.#view.stuck) this.#fresh = 0;
    const more = this.find(".new-messages");
    more.hidden = this.#fresh === 0;
    if (this.#fresh) write(more, "messages.new", { count: this.#fresh });
    if (!this.#view.nearTop) return;
    const { messages, worklog, past } = this.store;
    if (past.messages.state === "more") void this.store.older("messages");
    const [oldest] = messages.keys();
    const [first] = worklog.keys();
    if (this.#events && past.worklog.state === "more" && offsetOf(first ?? "") > offsetOf(oldest ?? ""))
      void this.store.older("worklog");
  }

  /** @param {EventTarget | null} target */
  async #clicked(target) {
    const action = meant(target, "button")?.dataset.action;
    const { cursor = "", ref = "" } = meant(target, ".message")?.dataset ?? {};
    if (action === "end") this.#view.toEnd();
    else if (action === "older") void this.store.older("messages");
    else if (action === "retry") this.store.retry(ref);
    else if (action === "discard") this.store.discard(ref);
    else if (action === "redact" && (await confirmed("redact", this.store.messages.get(cursor)?.text)))
      void this.store.redact(cursor);
  }
}

customElements.define("cc-messages", Messages);
