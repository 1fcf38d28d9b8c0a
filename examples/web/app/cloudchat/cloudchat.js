// The protocol client: one session that lasts, over connections that do not. It knows nothing of any page.
//
//   const client = new Client({ server: "https://chat.example.org/", memory: sessionMemory() });
//   client.subscribe((item) => console.log(item));
//   client.start();
//   await client.join("Alexandra");
//   await client.execute({ type: "say", text: "Hello" });
//
// `session.js` knows what is to be said and where the feed goes on, `links.js` keeps a connection open for it, over one of
// the transports. Here they meet the page: who waits for answers, who listens, and what outlives a reload.

/** @import {Ack, Cursor, Frame, Item, Memory, Platform, Refusal, Status, TransportName, Wish} from "./types.js" */
/** @import {Outcome} from "./session.js" */
import { EndedError, RefusedError, UncertainError, ownRefusal } from "./errors.js";
import { readHistory } from "./history.js";
import { hold, randomId } from "./identity.js";
import { Keeper } from "./keeper.js";
import { Links } from "./links.js";
import { volatileMemory } from "./memory.js";
import { browserPlatform } from "./platform.js";
import { sayAway } from "./posting.js";
import { Session } from "./session.js";
import { choose } from "./transports.js";

export { EndedError, RefusedError, UncertainError } from "./errors.js";
export { sessionMemory, volatileMemory } from "./memory.js";
export { browserPlatform } from "./platform.js";

/** @typedef {{resolve: (ack: Ack) => void, reject: (error: Error) => void}} Waiting */

export class Client {
  #base;
  #platform;
  #keeper;
  #session;
  #links;
  /** @type {Set<(item: Item) => void>} */ #subscribers = new Set();
  /** @type {Map<string, Waiting>} By command id. */ #waiting = new Map();
  /** @type {Waiting[]} For the join that was asked for last. */ #joining = [];
  /** @type {EndedError | undefined} */ #ended;
  #started = false;
  #asleep = false;
  #skew = 0;
  #page = new AbortController();
  #release = () => {};

  /**
   * @param {object} options
   * @param {string | URL} options.server Its address; taken as a directory, below which `v1/…` is.
   * @param {"auto" | TransportName} [options.transport] `auto`: the best that works.
   * @param {Memory} [options.memory] Keeps the token, the nickname and what is unanswered.
   * @param {Cursor} [options.after] Where the feed begins; "": with a snapshot.
   * @param {string[]} [options.topics] What is followed; []: all.
   * @param {Platform} [options.platform]
   */
  constructor({
    server,
    transport = "auto",
    memory = volatileMemory(),
    after = "",
    topics = [],
    platform = browserPlatform(),
  }) {
    const base = new URL(server, globalThis.location?.href);
    base.search = base.hash = "";
    if (!base.pathname.endsWith("/")) base.pathname += "/";
    const keeper = new Keeper(memory, base.href, platform);
    const session = new Session({
      newId: () => randomId(platform),
      token: keeper.token,
      cursor: after,
      wanted: keeper.wanted,
      unanswered: keeper.unanswered,
      changed: (leaving) => keeper.keep(session, leaving),
    });
    const transports = choose(transport, { base, topics, platform, session });
    const level = transports.findIndex(({ name }) => name === keeper.transport);
    this.#base = base;
    this.#platform = platform;
    this.#keeper = keeper;
    this.#session = session;
    this.#links = new Links({
      session,
      transports,
      platform,
      level: Math.max(level, 0),
      take: (frame) => this.#take(frame),
      tell: (status) => this.#heed(status),
      foreign: platform.origin !== "" && platform.origin !== base.origin,
      served: (level) => (keeper.transport = transports[level].name),
    });
  }

  // -- what it is

  /** The nickname that is held; "" while there is none. */
  get nickname() {
    return this.#session.nickname;
  }

  /** The nickname that it has or tries to have, also after a reload. */
  get wanted() {
    return this.#session.wanted;
  }

  /** Whether the server has acknowledged the nickname on the connection that is open. */
  get joined() {
    return this.#session.joined;
  }

  /** Where the feed goes on: handed to another client as `after`, nothing is missed or doubled. */
  get cursor() {
    return this.#session.cursor;
  }

  /** The transport in use, or used last. */
  get transport() {
    return this.#links.transport;
  }

  get limits() {
    return this.#session.limits;
  }

  /** The commands without an answer, in order; also those of the page before a reload. */
  get unanswered() {
    return this.#session.entries.map(({ command }) => command);
  }

  /** How much the server's clock is ahead of ours (ms). */
  get skew() {
    return this.#skew;
  }

  // -- what it does

  /**
   * Have every item handed to `listener`, in order.
   * @param {(item: Item) => void} listener
   * @returns {() => void} Ends that.
   */
  subscribe(listener) {
    this.#subscribers.add(listener);
    return () => void this.#subscribers.delete(listener);
  }

  start() {
    if (this.#started || this.#ended) return;
    this.#started = true;
    this.#listen();
    void this.#begin();
  }

  /** End it: the nickname is free at once. */
  close() {
    // What was asked for in this turn is still on its way.
    this.#links.wake();
    this.#finish(new EndedError(), 1000);
  }

  /** Try now, where it waits until it tries again. */
  reconnect() {
    this.#links.hurry();
  }

  /**
   * Take part as `nickname`, or change to it. Where it is called again before the answer, the last one counts.
   * @param {string} nickname
   * @returns {Promise<Ack>} Rejects with a `RefusedError`, which has suggestions, or an `EndedError`.
   */
  join(nickname) {
    return this.#promise((waiting) => {
      this.#session.join(nickname);
      this.#joining.push(waiting);
    });
  }

  /** Give the nickname back, and go on following. */
  leave() {
    return this.execute({ type: "leave" });
  }

  newId() {
    return randomId(this.#platform);
  }

  /**
   * Have a command done exactly once, however often the connection breaks or the page is loaded anew. It goes out when
   * the client has joined.
   * @param {Wish} wish
   * @returns {Promise<Ack>} Rejects with a `RefusedError`, an `UncertainError` or an `EndedError`.
   */
  execute(wish) {
    const command = { ...wish, id: wish.id ?? this.newId() };
    return this.#promise((waiting) => {
      this.#session.submit(command);
      this.#waiting.set(command.id, waiting);
    });
  }

  /**
   * Read a page of what was before `before`, newest first.
   * @param {"messages" | "worklog"} list
   * @param {{before?: Cursor, limit?: number}} [page]
   * @returns {Promise<{items: any[], next: Cursor | null}>} Rejects with a `RefusedError` (`gone`: it is not kept any
   *   more), or a `TypeError` where nobody answers.
   */
  history(list, page = {}) {
    return readHistory(this.#platform, this.#base, list, page);
  }

  // -- beginning and end

  async #begin() {
    if (!(await this.#hold())) {
      // A copy of another tab has to be somebody else.
      this.#keeper.renew();
      void this.#hold();
      if (this.#session.disown(this.#keeper.token)) {
        const refusal = ownRefusal("duplicated", "this tab is a copy: it needs a nickname of its own");
        this.#tell({ type: "nickname_lost", refusal });
      }
    }
    if (!this.#ended && !this.#asleep) this.#links.start();
  }

  /** @returns {Promise<boolean>} Whether this tab is the only one that is who it is. */
  #hold() {
    /** @type {Promise<void>} */
    const released = new Promise((resolve) => {
      this.#release = resolve;
    });
    return hold(this.#platform, `cloudchat tab ${this.#keeper.tab}`, released);
  }

  #listen() {
    const { events, document } = this.#platform;
    const { signal } = this.#page;
    events?.addEventListener("online", () => this.#links.hurry(), { signal });
    events?.addEventListener("offline", () => this.#links.refresh(), { signal });
    events?.addEventListener("pagehide", () => this.#sleep(), { signal });
    events?.addEventListener("pageshow", (event) => this.#awake(Boolean(/** @type {any} */ (event).persisted)), { signal });
    const look = () => document?.visibilityState === "visible" && this.#links.hurry();
    document?.addEventListener("visibilitychange", look, { signal });
  }

  /** The page goes away; it may come back as it was, from the browser's cache of pages. */
  #sleep() {
    this.#release();
    // A WebSocket is closed by the browser, and only it can say 1001; over HTTP that is a command.
    if (this.#asleep || this.transport === "ws") return;
    this.#asleep = true;
    const { token, joins } = this.#session;
    const goodbyes = joins.map((join) => ({ type: /** @type {const} */ ("away"), id: this.newId(), join }));
    if (goodbyes.length) sayAway(this.#platform, this.#base, token, goodbyes);
    this.#links.stop(1001);
  }

  /** @param {boolean} back Whether the page was away. */
  #awake(back) {
    if (back) void this.#hold();
    if (this.#asleep) this.#links.start();
    else this.#links.hurry();
    this.#asleep = false;
  }

  /**
   * @param {EndedError} error
   * @param {number} code
   */
  #finish(error, code) {
    if (this.#ended) return;
    this.#ended = error;
    this.#links.stop(code);
    this.#session.end();
    const waiting = [...this.#joining, ...this.#waiting.values()];
    this.#joining = [];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
    this.#page.abort();
    this.#release();
  }

  // -- what comes

  /** @param {Frame} frame */
  #take(frame) {
    if (frame.type === "welcome" || frame.type === "heartbeat") {
      const at = Date.parse(frame.at);
      if (at) this.#skew = at - this.#platform.now();
    }
    if (this.#session.isStale(frame)) return;
    const outcomes = this.#session.receive(frame);
    if (frame.type !== "ack" && frame.type !== "error") this.#tell(frame);
    for (const outcome of outcomes) this.#settle(outcome);
  }

  /** @param {Outcome} outcome */
  #settle(outcome) {
    if (outcome.type === "entered") {
      const { reply } = outcome;
      const joining = this.#joining;
      this.#joining = [];
      if (reply.type === "ack") {
        const { nickname } = this.#session;
        this.#tell({ type: "joined_as", nickname, resumed: reply.resumed === true });
      } else if (!joining.length) {
        this.#tell({ type: "nickname_lost", refusal: reply });
      }
      for (const waiting of joining) answer(waiting, reply);
      return;
    }
    const waiting = this.#waiting.get(outcome.command.id);
    this.#waiting.delete(outcome.command.id);
    this.#tell(outcome);
    if (!waiting) return;
    if (outcome.type === "answered") answer(waiting, outcome.reply);
    else waiting.reject(new UncertainError());
  }

  /** @param {Status} status */
  #heed(status) {
    this.#tell(status);
    if (status.state === "ended") {
      const code = status.closeCode ?? 1006;
      this.#finish(new EndedError(`the server has ended the session (${code})`, code), code);
    }
  }

  /** @param {Item} item */
  #tell(item) {
    for (const listener of this.#subscribers) {
      try {
        listener(item);
      } catch (error) {
        // A listener's bug is the page's to report, and costs the others nothing.
        this.#platform.setTimeout(() => {
          throw error;
        }, 0);
      }
    }
  }

  /**
   * @param {(waiting: Waiting) => void} begin
   * @returns {Promise<Ack>}
   */
  #promise(begin) {
    /** @type {Promise<Ack>} */
    const promise = new Promise((resolve, reject) => {
      if (this.#ended) throw this.#ended;
      begin({ resolve, reject });
      // What is asked for in one go leaves in one go.
      queueMicrotask(() => this.#links.wake());
    });
    // Who does not wait for the outcome is told it all the same, as an item.
    promise.catch(() => {});
    return promise;
  }
}

/**
 * @param {Waiting} waiting
 * @param {Ack | Refusal} reply
 */
function answer({ resolve, reject }, reply) {
  if (reply.type === "ack") resolve(reply);
  else reject(new RefusedError(reply));
}
