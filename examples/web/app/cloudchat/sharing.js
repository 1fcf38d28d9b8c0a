// One feed for all tabs of a browser: over HTTP/1.1 it has six connections to a server, and a feed takes one for good.
//
// Theory of operation. The tabs that follow the same feed elect a *leader*: who holds a Web Lock. The others wait for that
// lock in a queue, so when the leader goes, however it goes, the next one leads, from where it stands. The leader has the
// feed; it sends what comes on a BroadcastChannel, and says after which cursor that stands (`from`). A tab that has not
// got that far catches up by polls that do not wait, and keeps what is broadcast meanwhile. Snapshots are not broadcast:
// whether a tab lost something depends on where it stood, so it asks by itself.
//
// Each tab posts its own commands. Its `join` names the leader's feed; the leader also notes the tokens that have joined,
// for polls and for feeds that it opens later. Each feed that begins is a `welcome` for all, and all join again on it.
//
// A leader may be stuck: who hears nothing from it ends (`links.js`), asks once more, and then steals the lock.

/** @import {Cursor, End, Frame, Handlers, OpenFeed, Platform, Welcome} from "./types.js" */
import { CatchingUp } from "./catching_up.js";
import { hasReached, movesTo } from "./cursors.js";
import { randomName } from "./identity.js";
import { Leading } from "./leading.js";
import { Watch } from "./watch.js";

/** Milliseconds for a leader to say that it is there, and once more. */
export const PATIENCE = 2000;
/** For the next leader to open its feed, before a leader that goes lets go of its own. */
const HANDOVER = 2000;
const LOST = 1006;

/**
 * What tabs tell one another. `roster` has the tokens that have joined, by tab.
 * @typedef {{kind: "hello", tab: string, token: string}} Hello
 * @typedef {{kind: "bye", tab: string}} Bye
 * @typedef {{kind: "opening", leader: string}} Opening
 * @typedef {{kind: "feed", leader: string, feed: string, welcome: Welcome, at: Cursor,
 *   roster: [string, string][]}} Begun
 * @typedef {{kind: "frames", leader: string, feed: string, from: Cursor, frames: Frame[], to: Cursor,
 *   anew: boolean}} Batch
 * @typedef {{kind: "over", leader: string, end: End | null}} Over
 * @typedef {Hello | Bye | Opening | Begun | Batch | Over} Message
 */

/**
 * @typedef {object} Hub What the feeds of one transport have in common.
 * @property {string} key
 * @property {OpenFeed} openFeed
 * @property {URL} base
 * @property {string[]} topics
 * @property {Platform} platform
 * @property {boolean} possible Whether feeds can be shared here.
 */

export class SharedFeed {
  shared = false;
  #hub;
  #handlers;
  #token;
  #introduced;
  #me;
  #channel;
  #cursor;
  #over = false;
  #watch;
  #asked = false;
  /** @type {Map<string, string>} The tokens that have joined, by tab. */ #roster = new Map();
  #queue = new AbortController();
  #letGo = () => {};

  /** Whom we follow, and which of its feeds. */ #leader = "";
  #feed = "";
  /** @type {CatchingUp | undefined} */ #catching;

  /** @type {Leading | undefined} */ #leading;
  #abdicate = () => {};

  /**
   * @param {Hub} hub
   * @param {Cursor} after
   * @param {string} token
   * @param {boolean} introduced
   * @param {Handlers} handlers
   */
  constructor(hub, after, token, introduced, handlers) {
    const { platform } = hub;
    this.#hub = hub;
    this.#cursor = after;
    this.#token = token;
    this.#introduced = introduced;
    this.#handlers = handlers;
    this.#me = randomName(platform, 9);
    this.#channel = new /** @type {typeof BroadcastChannel} */ (platform.BroadcastChannel)(hub.key);
    this.#channel.onmessage = ({ data }) => this.#hear(data);
    this.#watch = new Watch(platform, () => this.#miss());
    this.#watch.arm(PATIENCE);
    // Not before we can be missed do we say that we are there.
    this.#lock(`${hub.key} tab ${this.#me}`, {}, () => {
      this.#hello("");
      return new Promise((resolve) => {
        this.#letGo = () => resolve(undefined);
      });
    });
    this.#stand({ signal: this.#queue.signal });
  }

  /** Our token has joined. */
  joined() {
    this.#roster.set(this.#me, this.#token);
    if (this.#leading) this.#leading.present();
    else this.#hello(this.#token);
  }

  close() {
    if (!this.#over) this.#leave(null);
  }

  // -- which tab leads

  /**
   * @param {string} name
   * @param {LockOptions} options
   * @param {() => Promise<unknown> | undefined} granted
   */
  #lock(name, options, granted) {
    const locks = /** @type {LockManager} */ (this.#hub.platform.locks);
    return locks.request(name, options, async () => (this.#over ? undefined : granted())).catch((/** @type {Error} */ error) => error);
  }

  /**
   * Stand for the lead.
   * @param {LockOptions} options
   */
  async #stand(options) {
    let elected = false;
    /** @type {any} */
    const error = await this.#lock(this.#hub.key, options, () => {
      elected = true;
      return this.#lead();
    });
    if (!error || this.#over) return;
    if (elected) {
      this.#end({ code: LOST, why: "lost", detail: "another tab took over" });
    } else if (error.name !== "AbortError") {
      // Locks are forbidden here.
      this.#hub.possible = false;
      this.#end({ code: LOST, why: "lost", detail: String(error) });
    }
  }

  /** Nobody says that it leads. */
  #miss() {
    if (!this.#asked) {
      this.#asked = true;
      this.#hello("");
      // Not all at once.
      this.#watch.arm(PATIENCE * (1 + this.#hub.platform.random()));
    } else {
      this.#queue.abort();
      void this.#stand({ steal: true });
    }
  }

  /** @returns {Promise<unknown> | undefined} Until we lead no more. */
  #lead() {
    if (this.#leading) return undefined;
    this.#leader = this.#feed = "";
    this.#queue.abort();
    this.#watch.stop();
    this.#catching?.stop();
    const tab = {
      name: this.#me,
      introduced: this.#introduced ? this.#token : "",
      cursor: () => this.#cursor,
      say: (/** @type {Message} */ message) => this.#say(message),
      hand: (/** @type {Frame} */ frame) => {
        if (frame.type === "welcome") this.shared = false;
        this.#hand(frame);
      },
      end: (/** @type {End} */ end) => this.#end(end),
      lock: this.#lock.bind(this),
    };
    this.#leading = new Leading(this.#hub, tab, this.#roster);
    return new Promise((resolve) => {
      this.#abdicate = () => resolve(undefined);
    });
  }

  // -- what tabs tell one another

  /** @param {Message} message */
  #say(message) {
    this.#channel.postMessage(message);
  }

  /** @param {string} token "" as long as it has not joined. */
  #hello(token) {
    this.#say({ kind: "hello", tab: this.#me, token });
  }

  /** @param {Message} message */
  #hear(message) {
    switch (message.kind) {
      case "hello":
        if (message.token) this.#roster.set(message.tab, message.token);
        this.#leading?.meet(message);
        break;
      case "bye":
        // Who leads hears of it by the tab's lock, and takes it off the feed.
        if (!this.#leading) this.#roster.delete(message.tab);
        break;
      case "opening":
        this.#asked = false;
        if (!this.#leader && !this.#leading) this.#watch.arm(PATIENCE);
        break;
      case "feed":
        if (this.#leading) this.#end({ code: LOST, why: "lost", detail: "another tab leads" });
        else this.#follow(message);
        break;
      case "frames":
        if (message.leader === this.#leader && message.feed === this.#feed) this.#catching?.add(message);
        break;
      case "over":
        if (this.#leading || (this.#leader && message.leader !== this.#leader)) break;
        // Where it went of its own accord, the next in the queue leads.
        if (message.end) this.#end(message.end);
        else this.#leader = this.#feed = "";
    }
  }

  // -- as one of the others

  /** @param {Begun} begun */
  #follow({ leader, feed, welcome, at, roster }) {
    if (leader === this.#leader && feed === this.#feed) return;
    this.#leader = leader;
    this.#feed = feed;
    this.#watch.stop();
    this.shared = true;
    this.#roster = new Map(roster);
    this.#catching?.stop();
    this.#catching = new CatchingUp(this.#hub, this.#cursor, {
      frame: (frame) => this.#hand(frame),
      end: (end) => this.#end(end),
    });
    this.#handlers.frame(welcome);
    this.#catching?.add({ from: at, frames: [], to: at, anew: true });
  }

  /** @param {Frame} frame */
  #hand(frame) {
    if (this.#over) return;
    const to = movesTo(frame);
    // Feeds overlap: what is old does not move us back. A snapshot is where we are, wherever that is.
    if (to !== undefined && (frame.type === "snapshot" || !hasReached(this.#cursor, to))) this.#cursor = to;
    this.#handlers.frame(frame);
  }

  // -- the end

  /** @param {End} end */
  #end(end) {
    if (this.#over) return;
    this.#leave(end);
    this.#handlers.end(end);
  }

  /** @param {End | null} end Null: of our own accord. */
  #leave(end) {
    const { platform } = this.#hub;
    this.#leading?.retire(end);
    this.#say({ kind: "bye", tab: this.#me });
    this.#over = true;
    this.#watch.stop();
    this.#catching?.stop();
    const shut = () => {
      platform.clearTimeout(timer);
      this.#leading?.close();
      this.#channel.close();
    };
    // The others are to be present all the time.
    const timer = platform.setTimeout(shut, HANDOVER);
    this.#channel.onmessage = ({ data }) => data.kind === "feed" && shut();
    this.#roster.delete(this.#me);
    if (end || !this.#roster.size || !this.#leading?.serves) shut();
    this.#queue.abort();
    this.#abdicate();
    this.#letGo();
  }
}
