// A browser in miniature: tabs with Web Locks, BroadcastChannels, a clock that is told, and a memory that survives reloads.
// A tab can be loaded anew, duplicated, crash (its locks are free at once), or hang (they are not).

import { Client, volatileMemory } from "../../app/cloudchat/cloudchat.js";
import { load } from "../../app/cloudchat/share.js";
import { Clock, generator } from "./clock.js";
import { Server } from "./server.js";

// No file is waited for while the clock stands.
await load();

class Locks {
  /** @type {Map<string, {tab: Tab, stolen: (error: Error) => void}>} */ held = new Map();
  /** @type {{name: string, tab: Tab, grant: () => void}[]} */ queue = [];

  /** @param {Tab} tab */
  of(tab) {
    /**
     * @param {string} name
     * @param {{signal?: AbortSignal, steal?: boolean}} options
     * @param {() => any} callback
     */
    const request = (name, options, callback) =>
      new Promise((resolve, reject) => {
        const no = () => reject(new DOMException("aborted", "AbortError"));
        const entry = {
          name,
          tab,
          grant: () => {
            const hold = { tab, stolen: () => tab.run(no) };
            this.held.set(name, hold);
            options.signal?.removeEventListener("abort", abort);
            const release = () => {
              if (this.held.get(name) === hold) this.held.delete(name);
              this.#later(name);
            };
            tab.run(() => Promise.resolve(callback()).then((value) => (release(), resolve(value)), (error) => (release(), reject(error))));
          },
        };
        const abort = () => {
          this.queue = this.queue.filter((other) => other !== entry);
          no();
        };
        if (options.signal?.aborted) return no();
        options.signal?.addEventListener("abort", abort);
        if (options.steal) {
          const robbed = this.held.get(name);
          this.held.delete(name);
          robbed?.stolen(new Error());
          this.queue.unshift(entry);
        } else {
          this.queue.push(entry);
        }
        queueMicrotask(() => this.#next(name));
      });
    return { request, query: () => Promise.reject(new Error("not here")) };
  }

  /**
   * What its holder broadcast before is heard before.
   * @param {string} name
   */
  #later(name) {
    setImmediate(() => setImmediate(() => this.#next(name)));
  }

  /** @param {string} name */
  #next(name) {
    if (this.held.has(name)) return;
    const entry = this.queue.find((entry) => entry.name === name);
    if (!entry) return;
    this.queue = this.queue.filter((other) => other !== entry);
    entry.grant();
  }

  /** @param {Tab} tab */
  free(tab) {
    this.queue = this.queue.filter((entry) => entry.tab !== tab);
    for (const [name, { tab: holder }] of [...this.held]) {
      if (holder !== tab) continue;
      this.held.delete(name);
      this.#later(name);
    }
  }
}

export class Browser {
  clock = new Clock();
  server = new Server(this.clock);
  locks = new Locks();
  /** @type {Set<any>} */ channels = new Set();
  chance;

  /**
   * @param {number} [seed]
   * @param {typeof Client} [Implementation] Of the client in its tabs.
   */
  constructor(seed = 1, Implementation = Client) {
    this.Client = Implementation;
    this.chance = generator(seed);
  }

  /**
   * @param {object} [options] Of the client; `memory` of an earlier tab makes a reload, a copy of it a duplicate.
   * @returns {Tab}
   */
  tab(options = {}) {
    return new Tab(this, options);
  }
}

export class Tab {
  /** @type {any[]} */ items = [];
  dead = false;
  frozen = false;
  online = true;
  /** @type {Set<number>} Those that are set. */ timers = new Set();
  events = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  /** @type {(() => void)[]} What waits for a tab that hangs. */ #kept = [];

  /**
   * @param {Browser} browser
   * @param {any} options
   */
  constructor(browser, { memory = volatileMemory(), locks = true, origin = "http://chat.test", ...options }) {
    const { clock, server, chance } = browser;
    const tab = this;
    this.browser = browser;
    this.memory = memory;
    class Channel {
      /** @type {any} */ onmessage = null;
      /** @param {string} name */
      constructor(name) {
        this.name = name;
        browser.channels.add(this);
      }
      /** @param {any} message */
      postMessage(message) {
        if (tab.dead) return;
        const data = structuredClone(message);
        for (const other of browser.channels) {
          if (other === this || other.name !== this.name) continue;
          setImmediate(() => other.owner.run(() => browser.channels.has(other) && other.onmessage?.({ data })));
        }
      }
      get owner() {
        return tab;
      }
      close() {
        browser.channels.delete(this);
      }
    }
    this.platform = {
      fetch: (/** @type {string} */ url, /** @type {RequestInit} */ init) => server.fetch(tab, url, init),
      WebSocket: server.webSocket(tab),
      setTimeout: (/** @type {() => void} */ callback, /** @type {number} */ ms) => {
        // One that is due while the tab hangs can still be cleared.
        const timer = clock.setTimeout(() => tab.run(() => this.timers.delete(timer) && callback()), ms);
        this.timers.add(timer);
        return timer;
      },
      clearTimeout: (/** @type {number} */ timer) => {
        this.timers.delete(timer);
        clock.clearTimeout(timer);
      },
      now: () => clock.now,
      random: chance.random,
      getRandomValues: (/** @type {Uint8Array} */ bytes) => bytes.map(() => chance.below(256)),
      locks: locks ? browser.locks.of(this) : undefined,
      BroadcastChannel: locks ? Channel : undefined,
      events: this.events,
      document: this.document,
      origin,
      online: () => this.online,
    };
    this.client = new browser.Client({ server: "http://chat.test/", memory, platform: /** @type {any} */ (this.platform), ...options });
    this.client.subscribe((item) => void this.items.push(item));
  }

  /** @param {() => void} action */
  run(action) {
    if (this.dead) return;
    if (this.frozen) this.#kept.push(action);
    else action();
  }

  /**
   * @template T
   * @param {Promise<T>} promise
   * @returns {Promise<T>} It is not heard of while the tab hangs, nor ever when it is gone.
   */
  gate(promise) {
    return new Promise((resolve, reject) => {
      promise.then((value) => this.run(() => resolve(value)), (error) => this.run(() => reject(error)));
    });
  }

  /** Gone without a word. */
  crash() {
    this.dead = true;
    const { server, locks, channels } = this.browser;
    for (const feed of [...server.feeds]) if (feed.tab === this) server.feeds.delete(feed);
    for (const channel of [...channels]) if (channel.owner === this) channels.delete(channel);
    locks.free(this);
  }

  /** The page goes, as browsers say it. */
  hide() {
    this.events.dispatchEvent(new Event("pagehide"));
    this.crash();
  }

  hang() {
    this.frozen = true;
  }

  wake() {
    this.frozen = false;
    for (const action of this.#kept.splice(0)) this.run(action);
  }

  // -- what it knows

  /** @param {string} type */
  all(type) {
    return this.items.filter((item) => item.type === type);
  }

  get status() {
    return this.all("status").at(-1);
  }

  /** The texts of the messages that came, in order. */
  get texts() {
    return this.all("message").map(({ text }) => text);
  }

  /** @param {string} text */
  say(text) {
    return this.client.execute({ type: "say", text });
  }
}
