// How we are connected, in words, always in sight; and what was lost on the way.

import { write } from "../i18n/i18n.js";
import { count } from "./seconds.js";
import { Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

export class Connection extends Widget {
  static lists = ["status", "loss"];

  /** */
  prepare() {
    this.find(".now").addEventListener("click", () => this.store.reconnect());
    this.find(".reload").addEventListener("click", () => location.reload());
    this.find(".dismiss").addEventListener("click", () => this.store.dismissLoss());
  }

  /** @param {Changes} _changes */
  update(_changes) {
    const { state, transport, shared, why, detail } = this.store.status;
    Object.assign(document.documentElement.dataset, { connection: state, transport, shared: String(shared) });
    write(this.find(".state"), `connection.${state}`);
    write(this.find(".transport"), state === "open" ? `transport.${transport}` : "");
    write(this.find(".shared"), shared && state === "open" ? "connection.shared" : "");
    const reason = this.find(".why");
    write(reason, why && state !== "open" ? `connection.why.${why}` : "");
    reason.title = detail;
    this.find(".now").hidden = state !== "waiting" && state !== "offline";
    this.find(".reload").hidden = state !== "ended";
    this.find(".loss").hidden = !this.store.loss;
    write(this.find(".loss .what"), this.store.loss ? "connection.loss" : "");
    count(this.#tick, state === "waiting");
    this.#tick();
  }

  #tick = () => {
    const { state, retryAt } = this.store.status;
    const seconds = Math.max(0, Math.ceil(((retryAt ?? 0) - Date.now()) / 1000));
    write(this.find(".in"), state === "waiting" ? "connection.in" : "", { seconds });
  };
}

customElements.define("cc-connection", Connection);
