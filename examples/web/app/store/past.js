// Older history, page by page: how far back messages and worklog go, and the way further back.

import { HELD } from "./fold.js";

/** @import {InstanceEvent, MessageEvent} from "../cloudchat/types.js" */
/** @import {Fold} from "./fold.js" */
/** @import {ClientPort, Past as Reach} from "./types.js" */

/** @typedef {"messages" | "worklog"} List */

const PAGE = 100;

export class Past {
  /** @type {Record<List, Reach>} */
  reach = { messages: { state: "end", before: "" }, worklog: { state: "end", before: "" } };
  /** Counts the snapshots: a page that was asked for before the last one no longer fits. */
  #generation = 0;
  #fold;
  #touch;

  /**
   * @param {Fold} fold where pages are put
   * @param {(list: string, key?: string) => void} touch told of every change
   */
  constructor(fold, touch) {
    this.#fold = fold;
    this.#touch = touch;
  }

  /** The lists were replaced: what is older than they are has to be asked for. */
  restart() {
    this.#generation += 1;
    for (const list of /** @type {const} */ (["messages", "worklog"]))
      this.#set(list, this.#fold[list].size ? "more" : "end");
  }

  /**
   * Load the page before the oldest that is held. What there is to say of it stands in `reach`.
   * @param {ClientPort} client
   * @param {List} list
   */
  async load(client, list) {
    const { state, before } = this.reach[list];
    const [oldest] = this.#fold[list].keys();
    if ((state !== "more" && state !== "unreachable") || oldest === undefined) return;
    // Beyond the bound the oldest are let go, and `before` is no longer where the list begins.
    if (this.#fold[list].size >= HELD) return this.#set(list, "full");
    const generation = this.#generation;
    this.#set(list, "loading", before);
    /** @type {{items: readonly (MessageEvent | InstanceEvent)[], next: string | null}} */
    let page;
    try {
      page = await client.history(list, { before: before || oldest, limit: PAGE });
    } catch (error) {
      const gone = error instanceof Error && "code" in error && error.code === "gone";
      if (generation === this.#generation) this.#set(list, gone ? "gone" : "unreachable", before);
      return;
    }
    if (generation !== this.#generation) return;
    this.#fold.prepend(list, page.items);
    this.#set(list, page.next === null ? "end" : "more", page.next ?? "");
  }

  /**
   * @param {List} list
   * @param {Reach["state"]} state
   * @param {string} [before]
   */
  #set(list, state, before = "") {
    this.reach[list] = { state, before };
    this.#touch("past", list);
  }
}
