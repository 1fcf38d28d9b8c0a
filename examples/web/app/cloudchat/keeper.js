// What of a client outlives the page, and when it is written down: before anything leaves that has to be known again.

/** @import {Memory, Platform} from "./types.js" */
/** @import {Entry, Session} from "./session.js" */
import { randomName } from "./identity.js";

const TOKEN = /^[A-Za-z0-9_-]{22,128}$/;

export class Keeper {
  #memory;
  #prefix;
  #platform;
  /** @type {Session | undefined} To be written down when this turn is over. */ #due;

  /**
   * @param {Memory} memory
   * @param {string} server Its address: what is kept is for that server alone.
   * @param {Platform} platform
   */
  constructor(memory, server, platform) {
    this.#memory = memory;
    this.#prefix = `cloudchat ${server} `;
    this.#platform = platform;
    this.token = this.#get("token");
    this.tab = this.#get("tab");
    this.wanted = this.#get("nickname");
    this.unanswered = entries(this.#get("unanswered"));
    if (!TOKEN.test(this.token) || !this.tab) this.renew();
  }

  /** Become somebody else. */
  renew() {
    this.token = randomName(this.#platform, 32);
    this.tab = randomName(this.#platform, 9);
    this.wanted = "";
    this.unanswered = [];
    this.#set("token", this.token);
    this.#set("tab", this.tab);
  }

  /** The transport that worked last. */
  get transport() {
    return this.#get("transport");
  }

  set transport(name) {
    this.#set("transport", name);
  }

  /**
   * Write down what a session has that is unanswered, and its nickname.
   * @param {Session} session
   * @param {boolean} now Else when this turn is over: many changes are written once.
   */
  keep(session, now) {
    if (now) {
      this.#due = undefined;
      this.#set("nickname", session.wanted);
      const { entries } = session;
      this.#set("unanswered", entries.length ? JSON.stringify(entries) : "");
    } else if (!this.#due) {
      this.#due = session;
      queueMicrotask(() => this.#due && this.keep(session, true));
    }
  }

  /** @param {string} name */
  #get(name) {
    return this.#memory.get(this.#prefix + name) ?? "";
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  #set(name, value) {
    if (value) this.#memory.set(this.#prefix + name, value);
    else this.#memory.delete(this.#prefix + name);
  }
}

/**
 * @param {string} text
 * @returns {Entry[]}
 */
function entries(text) {
  try {
    const found = JSON.parse(text);
    return found.filter((/** @type {any} */ entry) => typeof entry?.command?.id === "string");
  } catch {
    return [];
  }
}
