// One tab's way through what a leader broadcasts: each batch is for who stands at its beginning, or further.
//
// Theory of operation. Cursors of one epoch can be compared; those of two cannot, before the server has answered to ours:
// the log may be another one. Then, and wherever there is a hole, polls that do not wait bring the tab to where the next
// batch begins; batches that come meanwhile are kept. The server says `gap` there, where something is lost to this tab.

/** @import {Cursor, Handlers} from "./types.js" */
/** @import {Batch, Hub} from "./sharing.js" */
import { hasReached, movesTo, parseCursor } from "./cursors.js";
import { Call, feedUrl, rejected } from "./http.js";
import { readPoll } from "./poll.js";

/** @typedef {Pick<Batch, "from" | "frames" | "to" | "anew">} Piece */

/** Pieces that are kept. */
const KEPT = 1000;
/** Polls that bring nothing, and the milliseconds between them: a node that has not got that far itself. */
const ATTEMPTS = 5;
const PAUSE = 1000;
const PATIENCE = 15_000;
const LOST = 1006;

export class CatchingUp {
  #hub;
  #cursor;
  #handlers;
  /** @type {Piece[]} */ #pieces = [];
  /** Whether the server knows our cursor to be of this log. */ #known = false;
  /** @type {Call | undefined} */ #call;
  /** @type {number | undefined} */ #timer;
  #over = false;

  /**
   * @param {Hub} hub
   * @param {Cursor} cursor
   * @param {Pick<Handlers, "frame" | "end">} handlers
   */
  constructor(hub, cursor, handlers) {
    this.#hub = hub;
    this.#cursor = cursor;
    this.#handlers = handlers;
  }

  /** @param {Piece} piece `anew`: what is broadcast goes on somewhere else, in another log perhaps. */
  add(piece) {
    if (piece.anew) {
      this.#rest();
      this.#known = false;
      this.#pieces = [];
    } else if (this.#pieces.length >= KEPT) {
      // Too far behind to be kept for: the polls bring this as well.
      this.#pieces = [];
      piece = { ...piece, from: piece.to, frames: [] };
    }
    this.#pieces.push(piece);
    this.#go();
  }

  stop() {
    this.#over = true;
    this.#rest();
  }

  #rest() {
    this.#call?.cancel();
    this.#call = undefined;
    if (this.#timer !== undefined) this.#hub.platform.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #go() {
    while (this.#pieces.length && !this.#over && !this.#call && this.#timer === undefined) {
      if (!this.#has(this.#pieces[0].from)) {
        void this.#poll(0);
        return;
      }
      this.#known = true;
      this.#give(/** @type {Piece} */ (this.#pieces.shift()).frames);
    }
  }

  /** @param {Cursor} from */
  #has(from) {
    const same = this.#known || parseCursor(this.#cursor)?.epoch === parseCursor(from)?.epoch;
    return same && hasReached(this.#cursor, from);
  }

  /** @param {import("./types.js").Frame[]} frames */
  #give(frames) {
    for (const frame of frames) {
      if (this.#over) return;
      const to = movesTo(frame);
      if (to !== undefined && (frame.type === "snapshot" || !hasReached(this.#cursor, to))) this.#cursor = to;
      this.#handlers.frame(frame);
    }
  }

  /** @param {number} failures */
  async #poll(failures) {
    const { base, topics, platform } = this.#hub;
    const call = (this.#call = new Call(platform));
    const url = feedUrl(base, "v1/poll", { after: this.#cursor, topics });
    url.searchParams.set("wait", "0");
    let answer;
    try {
      const response = await call.fetch(url, {}, PATIENCE);
      // Without polls, each tab has to have a feed of its own.
      if (response.status === 404) this.#hub.possible = false;
      if (response.status !== 200) {
        const end = await rejected(response);
        if (!call.cancelled) this.#handlers.end({ ...end, why: "lost" });
        return;
      }
      answer = await readPoll(response);
    } catch (error) {
      if (!call.cancelled) this.#handlers.end({ code: LOST, why: "lost", detail: `catching up failed: ${error}` });
      return;
    } finally {
      call.done();
    }
    if (call.cancelled) return;
    const { frames, cursor, at } = answer;
    const before = this.#cursor;
    this.#give(frames.filter(({ type }) => type !== "welcome"));
    this.#give([{ type: "heartbeat", cursor, at }]);
    if (call.cancelled) return;
    this.#call = undefined;
    this.#known = true;
    if (this.#cursor !== before || this.#has(this.#pieces[0].from)) {
      this.#go();
    } else if (failures < ATTEMPTS) {
      this.#timer = platform.setTimeout(() => {
        this.#timer = undefined;
        void this.#poll(failures + 1);
      }, PAUSE);
    } else {
      this.#handlers.end({ code: LOST, why: "lost", detail: "the server has not got as far as another tab" });
    }
  }
}
