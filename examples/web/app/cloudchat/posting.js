// A connection over HTTP: a feed of some kind comes down, commands go up by `POST v1/commands`.
//
// Theory of operation. One request is under way at a time, and all that waits meanwhile goes into the next one, as a list:
// so the order is kept. A problem that answers a request as a whole was said to each of its commands, and is handed on as
// that. A request without an answer ends the connection: whether its commands happened is not known, and the session
// sends them again, with the same ids.

/** @import {Command, Cursor, End, Feed, Handlers, Join, Platform, Reply, Transport, TransportName} from "./types.js" */
/** @import {Session} from "./session.js" */
import { asFrame } from "./cursors.js";
import { Call, identity, readProblem } from "./http.js";

/** Milliseconds for an answer. */
const PATIENCE = 15_000;
/** Commands that go into one request (the protocol's own bound), and their bytes; a longer one goes alone. */
const TOGETHER = 100;
const BYTES = 65_536;
/** What a browser lets a page send on behind its own end (WHATWG Fetch §4.5), with some room for others. */
const KEEPALIVE = 60_000;

const LOST = 1006;
const NORMAL = 1000;

const encoder = new TextEncoder();

/**
 * @param {TransportName} name
 * @param {(after: Cursor, token: string, introduced: boolean, handlers: Handlers) => Feed} openFeed
 * @param {{base: URL, platform: Platform, session: Session}} options
 * @returns {Transport}
 */
export function httpTransport(name, openFeed, { base, platform, session }) {
  return {
    name,
    connect(after, handlers) {
      const { token, introduced } = session;
      let over = false;
      let named = false;
      /** @param {End} end */
      const end = (end) => {
        if (over) return;
        over = true;
        poster.stop();
        feed.close();
        handlers.end(end);
      };
      const poster = new Poster(base, platform, token, {
        answered(reply, join) {
          if (over) return;
          if (join && reply.type === "ack") feed.joined();
          handlers.frame(reply);
        },
        lost: (detail) => end({ code: LOST, why: "lost", detail }),
      });
      const feed = openFeed(after, token, introduced, {
        frame(frame) {
          if (over) return;
          // On a new feed all is said again, in order.
          if (frame.type === "welcome") poster.begin(frame.feed);
          handlers.frame(frame);
        },
        end,
      });
      return {
        get shared() {
          return feed.shared;
        },
        send(commands) {
          named ||= commands.some(({ type }) => type === "join");
          poster.push(commands);
        },
        close(code) {
          if (over) return;
          over = true;
          if (code === NORMAL && named) poster.leave();
          else poster.stop();
          feed.close();
        },
      };
    },
  };
}

/**
 * Say that the page goes away: what close 1001 is on a WebSocket.
 * @param {Platform} platform
 * @param {URL} base
 * @param {string} token
 * @param {{type: "away", id: string, join: string}[]} commands
 */
export function sayAway(platform, base, token, commands) {
  void postLast(platform, base, token, JSON.stringify(commands));
}

/** The way up of one connection. */
class Poster {
  #base;
  #platform;
  #token;
  #handlers;
  #feed = "";
  /** @type {(Command | Join)[]} */ #waiting = [];
  /** @type {(Command | Join)[]} Under way. */ #posted = [];
  /** @type {Call | undefined} */ #call;

  /**
   * @param {URL} base
   * @param {Platform} platform
   * @param {string} token
   * @param {{answered: (reply: Reply, join: boolean) => void, lost: (detail: string) => void}} handlers
   */
  constructor(base, platform, token, handlers) {
    this.#base = base;
    this.#platform = platform;
    this.#token = token;
    this.#handlers = handlers;
  }

  /**
   * @param {string} feed The name that a join is to mention; "": none.
   */
  begin(feed) {
    this.#feed = feed;
    this.#waiting = [];
  }

  /** @param {(Command | Join)[]} commands */
  push(commands) {
    this.#waiting.push(...commands);
    if (!this.#call) void this.#run();
  }

  stop() {
    this.#waiting = [];
    this.#call?.cancel();
  }

  /** Say `leave`, behind all that has no answer yet: nobody waits for these any more, but they were asked for. */
  leave() {
    const last = [...this.#posted, ...this.#waiting, { type: "leave", id: `leave-${this.#platform.now()}` }];
    this.stop();
    void (async () => {
      while (last.length) {
        const { body } = this.#body(/** @type {Command[]} */ (last));
        await postLast(this.#platform, this.#base, this.#token, body);
      }
    })();
  }

  async #run() {
    while (this.#waiting.length) {
      const call = (this.#call = new Call(this.#platform));
      const { commands, body } = this.#body(this.#waiting);
      this.#posted = commands;
      let replies;
      try {
        replies = await ask(call, commands, post(call, this.#base, this.#token, body));
      } catch (error) {
        if (!call.cancelled) this.#handlers.lost(`commands were not answered: ${error}`);
        break;
      }
      this.#posted = [];
      replies.forEach((reply, place) => this.#handlers.answered(reply, commands[place].type === "join"));
    }
    this.#call = undefined;
  }

  /**
   * Take the commands of the next request from the beginning of `waiting`.
   * @param {(Command | Join)[]} waiting
   */
  #body(waiting) {
    /** @type {string[]} */
    const parts = [];
    let size = 0;
    for (const command of waiting.slice(0, TOGETHER)) {
      const part = JSON.stringify(command.type === "join" ? this.#ofHere(command) : command);
      size += encoder.encode(part).length + 1;
      if (parts.length && size > BYTES) break;
      parts.push(part);
    }
    return { commands: waiting.splice(0, parts.length), body: `[${parts}]` };
  }

  /** @param {Join} join The token stands in the header. */
  #ofHere(join) {
    return { ...join, token: undefined, feed: this.#feed || undefined };
  }
}

/**
 * @param {Call} call
 * @param {URL} base
 * @param {string} token
 * @param {string} body
 * @param {RequestInit} [more]
 */
function post(call, base, token, body, more) {
  const headers = { "Content-Type": "application/json", ...identity([token]) };
  return call.fetch(new URL("v1/commands", base), { method: "POST", headers, body, ...more }, PATIENCE);
}

/**
 * Post what is to arrive though the page ends, and whose answer nobody waits for.
 * @param {Platform} platform
 * @param {URL} base
 * @param {string} token
 * @param {string} body
 */
async function postLast(platform, base, token, body) {
  const call = new Call(platform);
  try {
    const response = await post(call, base, token, body, { keepalive: body.length * 3 < KEEPALIVE });
    await response.body?.cancel();
  } catch {
    // Then the server notices by itself, after a while.
  }
  call.done();
}

/**
 * @param {Call} call
 * @param {(Command | Join)[]} commands
 * @param {Promise<Response>} asked
 * @returns {Promise<Reply[]>}
 */
async function ask(call, commands, asked) {
  try {
    const response = await asked;
    if (response.status !== 200) {
      const problem = response.status === 408 ? undefined : await readProblem(response);
      if (!problem) throw new TypeError(`HTTP status ${response.status}`);
      return commands.map(({ id }) => ({ ...problem, type: "error", id }));
    }
    const replies = JSON.parse(await response.text());
    if (replies.length !== commands.length) throw new TypeError("there are not as many answers as commands");
    return replies.map(asReply);
  } finally {
    call.done();
  }
}

/**
 * @param {unknown} value
 * @returns {Reply}
 */
function asReply(value) {
  const frame = asFrame(value);
  if (frame?.type !== "ack" && frame?.type !== "error") throw new SyntaxError("this is no answer");
  return frame;
}
