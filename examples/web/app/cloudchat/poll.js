// The feed by long polls, one after the other.
//
// Theory of operation. A poll says `welcome` and `heartbeat` by what it is: a feed that goes on after a cursor begins
// without a `welcome`, and each answer's own cursor is the position of the feed. Whoever follows is told both in the
// frames' own words, and need not know which transport it has.
//
// The participations that have joined stand in the header of each poll. The poll that waits just then does not name a
// new one, and names one that has gone, so it is given up and asked again.

/** @import {Cursor, End, Frame, Handlers, OpenFeed, Platform, Welcome} from "./types.js" */
import { asFrame } from "./cursors.js";
import { Call, feedUrl, identity, rejected, unreachable } from "./http.js";

/** Seconds that a poll waits at most: below the 30 s after which some proxies give up. */
const WAIT = 25;
/** Milliseconds for an answer that is due. */
const PATIENCE = 15_000;

const LOST = 1006;
const RESTART = 1012;

/** @type {Welcome} */
const UNSAID = {
  type: "welcome",
  protocol: "cloudchat.v1",
  feed: "",
  cursor: "",
  at: "",
  heartbeat: WAIT,
  limits: { text: 4096, nickname: 32, frame: 65536, unanswered: 100 },
};

/**
 * @param {{base: URL, topics: string[], platform: Platform}} options
 * @returns {OpenFeed}
 */
export function pollFeed({ base, topics, platform }) {
  const known = { welcome: UNSAID };
  return (after, tokens, handlers) => {
    const url = feedUrl(base, "v1/poll", { after, topics });
    const polls = new Polls(platform, url, tokens, handlers, known);
    void polls.run(after);
    return polls;
  };
}

class Polls {
  #platform;
  #url;
  #tokens;
  #handlers;
  #known;
  /** @type {Call | undefined} */ #call;
  #over = false;

  /**
   * @param {Platform} platform
   * @param {URL} url
   * @param {string[]} tokens
   * @param {Handlers} handlers
   * @param {{welcome: Welcome}} known What was said last, for feeds that begin without.
   */
  constructor(platform, url, tokens, handlers, known) {
    this.#platform = platform;
    this.#url = url;
    this.#tokens = [...tokens];
    this.#handlers = handlers;
    this.#known = known;
  }

  /** @param {string[]} tokens */
  present(tokens) {
    const same = String(tokens) === String(this.#tokens);
    this.#tokens = [...tokens];
    if (!same) this.#call?.cancel();
    return true;
  }

  close() {
    this.#over = true;
    this.#call?.cancel();
  }

  /** @param {Cursor} after */
  async run(after) {
    const end = await this.#follow(after);
    if (this.#over) return;
    this.#over = true;
    this.#handlers.end(end);
  }

  /**
   * @param {Cursor} after
   * @returns {Promise<End>} Never rejects.
   */
  async #follow(after) {
    let begun = false;
    while (!this.#over) {
      const call = (this.#call = new Call(this.#platform));
      const wait = begun ? Math.max(1, Math.min(WAIT, this.#known.welcome.heartbeat)) : 0;
      this.#url.searchParams.set("wait", String(wait));
      const asked = this.#platform.now();
      let answer;
      try {
        const response = await this.#ask(call, begun, wait * 1000 + PATIENCE);
        if (response.status !== 200) return await rejected(response);
        answer = await readPoll(response);
      } catch (error) {
        if (call.cancelled) continue;
        return begun ? { code: LOST, why: "lost", detail: `a poll failed: ${error}` } : unreachable(error);
      } finally {
        call.done();
      }
      const { frames, cursor, at } = answer;
      const told = frames.length && (cursor !== this.#url.searchParams.get("after") || frames[0].type === "closing");
      if (!told && begun && this.#platform.now() - asked < wait * 100) return HASTY;
      if (!begun && frames[0]?.type !== "welcome" && frames[0]?.type !== "closing") {
        frames.unshift({ ...this.#known.welcome, cursor: after, at });
      }
      begun = true;
      for (const frame of frames) {
        if (this.#over) break;
        // What is named there lasts for one answer: no join may rely on it.
        if (frame.type === "welcome") this.#handlers.frame((this.#known.welcome = { ...frame, feed: "" }));
        else this.#handlers.frame(frame);
        if (frame.type === "closing") return { code: RESTART, why: "restart", detail: "the server restarts" };
      }
      if (this.#over) break;
      this.#url.searchParams.set("after", cursor);
      this.#handlers.frame({ type: "heartbeat", cursor, at });
    }
    return { code: LOST, why: "lost", detail: "" };
  }

  /**
   * @param {Call} call
   * @param {boolean} begun A token that is not known any more ends the feed then: all are to join again.
   * @param {number} ms
   */
  #ask(call, begun, ms) {
    const accept = "application/json";
    if (!begun) return call.open(this.#url, accept, this.#tokens, ms, this.#handlers.forgotten);
    return call.fetch(this.#url, { headers: { Accept: accept, ...identity(this.#tokens) } }, ms);
  }
}

/**
 * Something in between answers for the server: to ask again and again would be a loop without a pause.
 * @type {End}
 */
const HASTY = { code: LOST, why: "lost", detail: "polls are answered before their time" };

/**
 * @param {Response} response
 * @returns {Promise<{frames: Frame[], cursor: Cursor, at: string}>}
 */
export async function readPoll(response) {
  const { frames, cursor } = JSON.parse(await response.text());
  if (!Array.isArray(frames) || typeof cursor !== "string") throw new SyntaxError("this is no answer to a poll");
  const known = frames.map(asFrame).filter((frame) => frame !== undefined);
  return { frames: known, cursor, at: sentAt(response) };
}

/**
 * @param {Response} response
 * @returns {string} When the server sent it, by its own clock; "" where another origin's page may not know.
 */
function sentAt(response) {
  const at = new Date(response.headers.get("date") ?? NaN);
  return Number.isNaN(at.getTime()) ? "" : at.toISOString();
}
