// A cloudchat server in miniature, in memory: the log, the tokens and their remembered answers, and all three transports.
// What it does between a request and its answer is for the test to say (`faults`).

/** @import {Clock} from "./clock.js" */
/** @import {Tab} from "./browser.js" */

/** @typedef {{tab: Tab, name: string, push: (frame: any) => void, end: (code?: number) => void, scopes: Set<string>}} Feed */

export class Server {
  epoch = "e1";
  /** @type {any[]} */ log = [];
  /** By token. @type {Map<string, {answers: Map<string, any>, nickname: string}>} */ tokens = new Map();
  /** @type {Set<Feed>} */ feeds = new Set();
  /** Every request, as `METHOD path`. @type {{what: string, tab: Tab, tokens: string[], url: URL, body: any}[]} */ requests = [];
  up = true;
  heartbeat = 15;
  offered = new Set(["ws", "sse", "poll"]);
  /** Whether snapshots are for cursors before this offset only. */ first = 1;
  /**
   * What happens to one request or frame upstream: "" nothing; "lost" before it is heard; "unanswered" after it was done;
   * "stuck" it is never answered.
   * @type {(what: string) => "" | "lost" | "unanswered" | "stuck"}
   */
  faults = () => "";
  /** Milliseconds that each part of a feed's first snapshot is on its way. @type {() => number} */ slowness = () => 0;
  /** Milliseconds that each frame of a feed is on its way. @type {() => number} */ lag = () => 0;
  /** Milliseconds until a feed is open. @type {() => number} */ latency = () => 0;
  /** The ids of all commands that were sent here, whatever became of them. */ sent = new Set();
  /** Decides a command before the server does. @type {(command: any) => any} */ refuse = () => undefined;

  /** @param {Clock} clock */
  constructor(clock) {
    this.clock = clock;
  }

  get at() {
    return new Date(this.clock.now).toISOString();
  }

  get cursor() {
    return `${this.epoch}-${this.log.length}`;
  }

  /** @param {any} event */
  append(event) {
    const full = { cursor: `${this.epoch}-${this.log.length + 1}`, at: this.at, ...event };
    this.log.push(full);
    for (const feed of [...this.feeds]) feed.push(full);
    return full;
  }

  /** End all feeds, as a crash does. */
  drop() {
    for (const feed of [...this.feeds]) feed.end();
  }

  /** Stop, and lose nothing. */
  down() {
    this.up = false;
    this.drop();
  }

  /**
   * Hold a participation lost, whatever connections there are.
   * @param {string} nickname
   */
  lose(nickname) {
    const scope = [...this.tokens.values()].find((one) => one.nickname === nickname);
    if (!scope) return;
    scope.nickname = "";
    this.append({ type: "left", nickname, reason: "disconnected" });
  }

  beat() {
    for (const feed of [...this.feeds]) feed.push({ type: "heartbeat", cursor: this.cursor, at: this.at });
  }

  // -- commands

  /**
   * @param {string} token
   * @param {any} command
   * @param {Feed | undefined} [feed]
   */
  decide(token, command, feed) {
    const own = this.refuse(command);
    if (own) return { type: "error", id: command.id, detail: own.code, ...own };
    if (command.type === "away") return { type: "ack", id: command.id, cursor: this.cursor };
    const known = this.tokens.get(token);
    const before = known?.answers.get(command.id);
    if (before) return before;
    const scope = known ?? { answers: new Map(), nickname: "" };
    const answer = this.#carryOut(scope, command, Boolean(known));
    if (answer.type === "ack") {
      this.tokens.set(token, scope);
      scope.answers.set(command.id, answer);
      if (command.type === "join") feed?.scopes.add(token);
    }
    return answer;
  }

  /**
   * @param {{answers: Map<string, any>, nickname: string}} scope
   * @param {any} command
   * @param {boolean} resumed
   */
  #carryOut(scope, command, resumed) {
    const { id, type } = command;
    /** @param {string} code */
    const no = (code, more = {}) => ({ type: "error", id, code, detail: code, ...more });
    const ack = (more = {}) => ({ type: "ack", id, cursor: this.cursor, ...more });
    if (type === "join") {
      const { nickname } = command;
      const taken = [...this.tokens.values()].some((other) => other !== scope && other.nickname === nickname);
      if (taken) return no("nickname_taken", { suggestions: [`${nickname}2`] });
      if (scope.nickname !== nickname) {
        if (scope.nickname) this.append({ type: "left", nickname: scope.nickname, reason: "left" });
        this.append({ type: "joined", nickname });
      }
      scope.nickname = nickname;
      return ack({ nickname, resumed });
    }
    if ((type === "say" || type === "leave") && !scope.nickname) return no("not_joined");
    if (type === "say") this.append({ type: "message", nickname: scope.nickname, text: command.text, ref: id });
    if (type === "leave") {
      this.append({ type: "left", nickname: scope.nickname, reason: "left" });
      scope.nickname = "";
    }
    return ack();
  }

  // -- feeds

  /**
   * Begin a feed; where its snapshot takes a while, all that happens meanwhile comes behind it.
   * @param {any} feed
   * @param {{welcome: any, frames: any[], fresh: boolean}} beginning
   */
  #introduce(feed, { welcome, frames, fresh }) {
    const { push: say } = feed;
    const lag = this.lag();
    /** @param {any} frame */
    const push = (frame) => {
      if (lag) this.clock.setTimeout(() => say(frame), lag);
      else say(frame);
    };
    say(welcome);
    feed.push = push;
    const ms = fresh ? this.slowness() : 0;
    const kept = [...frames];
    const flush = () => {
      feed.push = push;
      for (const frame of kept) push(frame);
    };
    if (!ms) return flush();
    let parts = kept.length;
    feed.push = (/** @type {any} */ frame) => kept.push(frame);
    const next = () => {
      if (!this.feeds.has(feed)) return;
      if (--parts <= 0) return flush();
      push(kept.shift());
      this.clock.setTimeout(next, ms);
    };
    this.clock.setTimeout(next, ms);
  }

  /**
   * How a feed begins after `after`.
   * @param {string} after
   * @param {string} feed
   */
  begin(after, feed) {
    const offset = Number(after.split("-")[1]);
    const served = after.startsWith(`${this.epoch}-`) && offset <= this.log.length && offset >= this.first - 1;
    const cursor = served ? after : this.cursor;
    const limits = { text: 4096, nickname: 32, frame: 65536, unanswered: 100 };
    const { at, heartbeat } = this;
    const welcome = { type: "welcome", protocol: "cloudchat.v1", feed, cursor, at, heartbeat, limits };
    if (served) return { welcome, frames: this.log.slice(offset), fresh: false };
    const messages = this.log.filter(({ type }) => type === "message");
    const gap = after ? [{ type: "gap", after, reason: "epoch" }] : [];
    // In parts, as a large one comes.
    const parts = [
      { type: "snapshot", cursor, messages: messages.slice(0, 1), more: true },
      { type: "snapshot", cursor, messages: messages.slice(1) },
    ];
    return { welcome, frames: [...gap, ...parts], fresh: true };
  }

  /**
   * @param {Tab} tab
   * @param {string} url
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async fetch(tab, url, init = {}) {
    const { signal } = init;
    /** @type {Promise<never>} */
    const aborted = new Promise((_, reject) => {
      const no = () => reject(new DOMException("aborted", "AbortError"));
      if (signal?.aborted) no();
      signal?.addEventListener("abort", no);
    });
    aborted.catch(() => {});
    return await Promise.race([aborted, tab.gate(this.#answer(tab, new URL(url), init))]);
  }

  /**
   * @param {Tab} tab
   * @param {URL} url
   * @param {RequestInit} init
   */
  async #answer(tab, url, init) {
    const path = url.pathname.replace(/^.*\/v1\//, "");
    const headers = new Headers(init.headers);
    const tokens = (headers.get("cloudchat-token") ?? "").split(",").filter(Boolean);
    const body = init.body ? JSON.parse(String(init.body)) : undefined;
    const what = `${init.method ?? "GET"} ${path}`;
    for (const { id } of [body ?? []].flat()) this.sent.add(id);
    const fault = this.faults(what);
    const ms = path === "sse" ? this.latency() : 0;
    if (ms) await new Promise((resolve) => void this.clock.setTimeout(() => resolve(undefined), ms));
    if (init.signal?.aborted || tab.dead) throw new DOMException("aborted", "AbortError");
    if (!this.up || fault === "lost") throw new TypeError("fetch failed");
    this.requests.push({ what, tab, tokens, url, body });
    if (fault === "stuck") return await new Promise(() => {});
    const after = url.searchParams.get("after") ?? "";
    const json = (/** @type {any} */ value, status = 200) =>
      new Response(JSON.stringify(value), { status, headers: { date: new Date(this.clock.now).toUTCString() } });
    if (path === "commands") {
      const answers = [];
      const list = Array.isArray(body) ? body : [body];
      for (const command of list) {
        const feed = [...this.feeds].find((feed) => feed.name === command.feed);
        answers.push(this.decide(tokens[0], command, feed));
      }
      if (fault) throw new TypeError("fetch failed");
      return json(Array.isArray(body) ? answers : answers[0]);
    }
    if (!this.offered.has(path)) return json({ code: "not_found", detail: "switched off" }, 404);
    if (tokens.some((token) => !this.tokens.has(token))) return json({ code: "token_invalid", detail: "join first" }, 401);
    if (path === "sse") return this.#stream(tab, after, tokens, init.signal);
    return json(await this.#poll(tab, after, Number(url.searchParams.get("wait")), tokens, init.signal));
  }

  #names = 0;

  /**
   * @param {Tab} tab
   * @param {string} after
   * @param {string[]} tokens
   * @param {AbortSignal | null | undefined} signal
   */
  #stream(tab, after, tokens, signal) {
    const name = `feed${++this.#names}`;
    const beginning = this.begin(after, name);
    const encoder = new TextEncoder();
    const server = this;
    const body = new ReadableStream({
      start(controller) {
        const push = (/** @type {any} */ frame) =>
          tab.run(() => {
            if (feed.open) controller.enqueue(encoder.encode(`event: ${frame.type}\ndata: ${JSON.stringify(frame)}\n\n`));
          });
        const feed = {
          tab, name, open: true, scopes: new Set(tokens), push,
          end() {
            if (!server.feeds.delete(feed)) return;
            tab.run(() => {
              if (feed.open) controller.error(new TypeError("terminated"));
              feed.open = false;
            });
          },
        };
        server.feeds.add(feed);
        signal?.addEventListener("abort", () => {
          server.feeds.delete(feed);
          if (feed.open) controller.error(new DOMException("aborted", "AbortError"));
          feed.open = false;
        });
        server.#introduce(feed, beginning);
      },
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  /**
   * @param {Tab} tab
   * @param {string} after
   * @param {number} wait
   * @param {string[]} tokens
   * @param {AbortSignal | null | undefined} signal
   */
  async #poll(tab, after, wait, tokens, signal) {
    const { welcome, frames, fresh } = this.begin(after, "");
    if (fresh) return { frames: [welcome, ...frames], cursor: welcome.cursor };
    if (!frames.length && wait) {
      const server = this;
      await new Promise((resolve, reject) => {
        const over = () => {
          server.feeds.delete(feed);
          this.clock.clearTimeout(timer);
        };
        const feed = {
          tab, name: "", scopes: new Set(tokens),
          /** @param {any} frame */ push(frame) {
            over();
            resolve(frame);
          },
          end() {
            over();
            reject(new TypeError("terminated"));
          },
        };
        const timer = this.clock.setTimeout(() => feed.push({ type: "heartbeat" }), wait * 1000);
        signal?.addEventListener("abort", over);
        server.feeds.add(feed);
      });
    }
    const news = this.begin(after, "");
    return { frames: news.frames, cursor: this.cursor };
  }

  /** @param {Tab} tab A class of its own for each tab. */
  webSocket(tab) {
    const server = this;
    return class {
      OPEN = 1;
      readyState = 0;
      /** @type {any} */ onopen;
      /** @type {any} */ onmessage;
      /** @type {any} */ onclose;
      #token = "";
      /** @type {any} */ #feed;

      /** @param {string} url */
      constructor(url) {
        const fault = server.faults("GET ws");
        const refused = !server.up || fault === "lost" || !server.offered.has("ws");
        server.requests.push({ what: "GET ws", tab, tokens: [], url: new URL(url), body: undefined });
        if (fault === "stuck") return;
        const answer = () => tab.run(() => (refused ? this.#shut(1006) : this.#open(new URL(url))));
        const ms = server.latency();
        if (ms) server.clock.setTimeout(answer, ms);
        else queueMicrotask(answer);
      }

      /** @param {URL} url */
      #open(url) {
        if (this.readyState) return;
        this.readyState = 1;
        this.onopen?.();
        const beginning = server.begin(url.searchParams.get("after") ?? "", `ws${Math.random()}`);
        this.#feed = {
          tab, name: "", scopes: new Set(),
          push: (/** @type {any} */ frame) => this.#push(frame),
          end: (code = 1006) => {
            server.feeds.delete(this.#feed);
            tab.run(() => this.#shut(code));
          },
        };
        server.feeds.add(this.#feed);
        server.#introduce(this.#feed, beginning);
      }

      /** @param {any} frame */
      #push(frame) {
        queueMicrotask(() => tab.run(() => this.readyState === 1 && this.onmessage?.({ data: JSON.stringify(frame) })));
      }

      /** @param {number} code */
      #shut(code) {
        if (this.readyState === 3) return;
        this.readyState = 3;
        server.feeds.delete(this.#feed);
        this.onclose?.({ code, reason: "" });
      }

      /** @param {string} text */
      send(text) {
        server.sent.add(JSON.parse(text).id);
        if (!this.#feed || !server.feeds.has(this.#feed)) return;
        const fault = server.faults("ws frame");
        if (fault === "stuck") return;
        // A frame is not lost unless the connection is.
        if (fault === "lost") return this.#feed.end();
        const command = JSON.parse(text);
        if (command.token) this.#token = command.token;
        const answer = server.decide(this.#token, command, this.#feed);
        if (fault) this.#feed.end();
        else this.#push(answer);
      }

      /** @param {number} [code] */
      close(code) {
        server.requests.push({ what: `close ${code ?? ""}`, tab, tokens: [this.#token], url: new URL("x:"), body: undefined });
        queueMicrotask(() => tab.run(() => this.#shut(code ?? 1005)));
      }
    };
  }
}
