// Commands on something that is shown (an instance, a message): what was asked, and why it was refused, is known where
// it belongs, by the key of what it is about. That it happened says only the feed.

import { troubleOf } from "./trouble.js";

/** @import {Wish} from "../cloudchat/types.js" */
/** @import {ClientPort, Trouble} from "./types.js" */

export class Orders {
  /** What is on its way. @type {Map<string, string>} */
  asked = new Map();
  /** Why the last one was refused. @type {Map<string, Trouble>} */
  troubles = new Map();
  #touch;
  /** @type {Map<string, string>} */ #lists = new Map();

  /** @param {(list: string, key?: string) => void} touch told of every change */
  constructor(touch) {
    this.#touch = touch;
  }

  /**
   * @param {ClientPort} client
   * @param {string} list the list that `key` belongs to
   * @param {string} key
   * @param {Wish} wish
   * @returns {Promise<Trouble | null>} why not
   */
  async give(client, list, key, wish) {
    this.asked.set(key, wish.type);
    this.#lists.set(key, list);
    this.troubles.delete(key);
    this.#touch(list, key);
    try {
      await client.execute(wish);
      return null;
    } catch (error) {
      const trouble = troubleOf(error);
      this.troubles.set(key, trouble);
      return trouble;
    } finally {
      this.asked.delete(key);
      this.#lists.delete(key);
      this.#touch(list, key);
    }
  }

  /** The connection came or went: what is asked waits, or does no longer. */
  look() {
    for (const [key, list] of this.#lists) this.#touch(list, key);
  }
}
