// What the tab does that leads: it has the feed from the server, and lays what comes before all (`sharing.js`).
//
// Theory of operation. What comes is broadcast when the turn is over, with the cursor that it stands after. A tab may go
// without a word, and what it says may be lost: each holds a lock of its own, for which the leader waits; who has it then
// takes that tab's token off the feed, which would keep it in the chat for as long as the leader lives. Where that takes
// another feed, it goes on from where this one stands; before its snapshot is whole there is no such place, and it waits.

/** @import {Cursor, End, FeedSource, Frame, Welcome} from "./types.js" */
/** @import {Hello, Hub, Message} from "./sharing.js" */
import { movesTo } from "./cursors.js";
import { randomName } from "./identity.js";

/** Tokens in a header, at most: the newest. */
const TOKENS = 100;

/**
 * @typedef {object} Tab What the leader needs of its tab.
 * @property {string} name
 * @property {string} introduced Its token, where the server knows it.
 * @property {() => Cursor} cursor Where it stands.
 * @property {(message: Message) => void} say To the other tabs.
 * @property {(frame: Frame) => void} hand
 * @property {(end: End) => void} end
 * @property {(name: string, options: LockOptions, granted: () => undefined) => Promise<unknown>} lock
 */

export class Leading {
  #hub;
  #tab;
  #roster;
  #over = false;
  /** @type {FeedSource | undefined} */ #source;
  /** @type {FeedSource | undefined} On its way. */ #opening;
  /** Whether another feed is to be opened when there is a cursor. */ #due = false;
  /** @type {Welcome | undefined} */ #welcome;
  #feed = "";
  /** How far what was broadcast goes. */ #at = "";
  /** @type {Frame[]} To be broadcast when this turn is over. */ #batch = [];
  /** @type {Map<string, AbortController>} */ #guards = new Map();

  /**
   * @param {Hub} hub
   * @param {Tab} tab
   * @param {Map<string, string>} roster The tokens that have joined, by tab.
   */
  constructor(hub, tab, roster) {
    this.#hub = hub;
    this.#tab = tab;
    this.#roster = roster;
    tab.say({ kind: "opening", leader: tab.name });
    for (const name of roster.keys()) this.#guard(name);
    this.#open();
  }

  /** Whether there is a feed. */
  get serves() {
    return this.#source !== undefined;
  }

  /** The roster has grown. */
  present() {
    this.#source?.present(this.#tokens());
  }

  /** @param {Hello} hello */
  meet({ tab, token }) {
    if (token) {
      this.#guard(tab);
      this.present();
    } else if (this.#welcome) {
      // Whoever comes later cannot tell our clock from the server's by it.
      this.#announce({ ...this.#welcome, at: "" });
    } else {
      this.#tab.say({ kind: "opening", leader: this.#tab.name });
    }
  }

  /**
   * Lead no more; the feed is still there until `close`.
   * @param {End | null} end Null: of our own accord.
   */
  retire(end) {
    this.#flush();
    this.#tab.say({ kind: "over", leader: this.#tab.name, end });
    this.#over = true;
    for (const guard of this.#guards.values()) guard.abort();
  }

  close() {
    this.#opening?.close();
    this.#source?.close();
  }

  // -- the feed

  #tokens() {
    return [...new Set(this.#roster.values())].slice(-TOKENS);
  }

  /** Open a feed; it takes the place of the one that there is when it is welcome. */
  #open() {
    const tokens = this.#tokens();
    const { cursor, introduced } = this.#tab;
    if (introduced && !tokens.includes(introduced)) tokens.push(introduced);
    /** @type {FeedSource} */
    const source = this.#hub.openFeed(cursor(), tokens, {
      frame: (frame) => {
        if (this.#over) return;
        if (frame.type === "welcome" && source !== this.#source) {
          this.#source?.close();
          this.#source = source;
          this.#opening = undefined;
        }
        if (source === this.#source || !this.#source) this.#lay(frame);
      },
      end: (end) => {
        if (source === this.#source || !this.#source) this.#tab.end(end);
        else if (source === this.#opening) this.#opening = undefined;
      },
      forgotten: () => this.#roster.clear(),
    });
    this.#opening?.close();
    this.#opening = source;
  }

  /**
   * Lay a frame before all.
   * @param {Frame} frame
   */
  #lay(frame) {
    if (frame.type === "welcome") {
      this.#flush();
      this.#welcome = frame;
      this.#feed = randomName(this.#hub.platform, 9);
      this.#at = frame.cursor;
      this.#announce(frame);
    } else if (frame.type === "snapshot") {
      this.#flush();
      if (!frame.more && frame.cursor !== this.#at) {
        this.#at = frame.cursor;
        this.#broadcast([], true);
      }
    } else if (frame.type !== "gap") {
      if (!this.#batch.length) queueMicrotask(() => this.#flush());
      this.#batch.push(frame);
    }
    this.#tab.hand(frame);
    if (this.#due) this.#renew();
  }

  /** Open another feed, from where this one stands. */
  #renew() {
    this.#due = this.serves && !this.#tab.cursor();
    if (!this.#due && !this.#over) this.#open();
  }

  #flush() {
    const frames = this.#batch;
    this.#batch = [];
    if (frames.length) this.#broadcast(frames, false);
  }

  /**
   * @param {Frame[]} frames
   * @param {boolean} anew
   */
  #broadcast(frames, anew) {
    const from = this.#at;
    for (const frame of frames) this.#at = movesTo(frame) ?? this.#at;
    this.#tab.say({ kind: "frames", leader: this.#tab.name, feed: this.#feed, from, frames, to: this.#at, anew });
  }

  /** @param {Welcome} welcome */
  #announce(welcome) {
    const roster = [...this.#roster];
    this.#tab.say({ kind: "feed", leader: this.#tab.name, feed: this.#feed, welcome, at: this.#at, roster });
  }

  /**
   * Wait for the lock of a tab that has joined: who gets it knows that the tab is gone.
   * @param {string} name
   */
  #guard(name) {
    if (name === this.#tab.name || this.#guards.has(name)) return;
    const guard = new AbortController();
    this.#guards.set(name, guard);
    void this.#tab.lock(`${this.#hub.key} tab ${name}`, { signal: guard.signal }, () => {
      this.#roster.delete(name);
      this.#guards.delete(name);
      if (!this.#source?.present(this.#tokens())) this.#renew();
      return undefined;
    });
  }
}
