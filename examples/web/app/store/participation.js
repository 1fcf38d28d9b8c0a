// Whether we are in the chat, and as whom.

import { troubleOf } from "./trouble.js";

/** @import {Item} from "../cloudchat/types.js" */
/** @import {ClientPort, Trouble} from "./types.js" */

export class Participation {
  /** Why we are no longer in the chat, though we wanted to be. @type {Trouble | null} */
  lost = null;
  /** The nickname that we had last. */
  last = "";
  /** Whether the reader is being asked for a nickname. */
  asking = false;
  /** @type {ClientPort | undefined} */
  #client;
  #touch;

  /** @param {(list: string) => void} touch told of every change */
  constructor(touch) {
    this.#touch = touch;
  }

  /** @param {ClientPort} client */
  connect(client) {
    this.#client = client;
    this.#touch("me");
  }

  /**
   * Our nickname, "" while we are not in the chat. While the connection comes back, after a loss or a reload, it is
   * still ours; while the reader is asked for one, what is wanted is not ours yet.
   */
  get nickname() {
    return this.#client?.nickname || (this.asking ? "" : this.#client?.wanted) || "";
  }

  /** @param {Item} item */
  apply(item) {
    if (item.type === "joined_as") {
      this.lost = null;
      this.last = item.nickname;
    } else if (item.type === "nickname_lost") {
      this.lost = troubleOf(item.refusal);
      this.ask(true);
    } else return;
    this.#touch("me");
  }

  /** Ask the reader for a nickname, or stop asking. @param {boolean} asking */
  ask(asking) {
    if (asking === this.asking) return;
    this.asking = asking;
    if (!asking) this.lost = null;
    this.#touch("me");
  }

  /**
   * Enter the chat, or change the nickname.
   * @param {string} nickname
   * @returns {Promise<Trouble | null>} why not
   */
  async join(nickname) {
    try {
      await this.#client?.join(nickname);
      return null;
    } catch (error) {
      return troubleOf(error);
    } finally {
      this.#touch("me");
    }
  }

  async leave() {
    try {
      await this.#client?.leave();
    } catch {
      // The client has ended: that is out, too, and the connection says why.
    }
    this.#touch("me");
  }
}
