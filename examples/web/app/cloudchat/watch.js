// Notices that something has been silent for too long.
//
// Theory of operation. One timer for as long as it lasts; to hear something is to note the time. Browsers hold timers of
// pages in the background back, and stop them while a machine sleeps: a timer that fires late may do so before what has
// arrived meanwhile is handed out, so a late one waits once more, for a moment.

/** @import {Platform} from "./types.js" */

const LATE = 1000;

export class Watch {
  #platform;
  #expired;
  /** @type {number | undefined} */ #timer;
  #limit = 0;
  #last = 0;
  #due = 0;

  /**
   * @param {Platform} platform
   * @param {() => void} expired
   */
  constructor(platform, expired) {
    this.#platform = platform;
    this.#expired = expired;
  }

  /** Milliseconds since something was heard. */
  get quiet() {
    return this.#platform.now() - this.#last;
  }

  /**
   * Begin, or begin anew.
   * @param {number} limit Milliseconds of silence.
   */
  arm(limit) {
    this.stop();
    this.#limit = limit;
    this.heard();
    this.#wait(limit);
  }

  heard() {
    this.#last = this.#platform.now();
  }

  stop() {
    if (this.#timer !== undefined) this.#platform.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** @param {number} ms */
  #wait(ms) {
    this.#due = this.#platform.now() + ms;
    this.#timer = this.#platform.setTimeout(() => this.#look(), ms);
  }

  #look() {
    const left = this.#limit - this.quiet;
    this.#timer = undefined;
    if (left > 0) this.#wait(Math.ceil(left));
    else if (this.#platform.now() - this.#due > LATE) this.#wait(LATE);
    else this.#expired();
  }
}
