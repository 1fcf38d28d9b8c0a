// A clock that stands still until it is told: no test waits for time to pass.

/** Let everything happen that happens without time: promises, streams, messages. */
export async function settle() {
  for (let turn = 0; turn < 12; turn++) await new Promise((resolve) => void setImmediate(resolve));
}

export class Clock {
  now = Date.parse("2026-01-01T00:00:00Z");
  #timers = new Map();
  #next = 1;

  /**
   * @param {() => void} callback
   * @param {number} ms
   */
  setTimeout(callback, ms) {
    this.#timers.set(this.#next, { at: this.now + Math.max(ms, 0), callback });
    return this.#next++;
  }

  /** @param {number} timer */
  clearTimeout(timer) {
    this.#timers.delete(timer);
  }

  get pending() {
    return this.#timers.size;
  }

  /** @param {number} ms */
  async advance(ms) {
    const until = this.now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort((a, b) => a[1].at - b[1].at || a[0] - b[0])[0];
      if (!due) break;
      this.#timers.delete(due[0]);
      this.now = Math.max(this.now, due[1].at);
      due[1].callback();
      await settle();
    }
    this.now = until;
  }

  /**
   * Advance until `fact` holds.
   * @param {() => boolean} fact
   * @param {number} [limit] ms
   */
  async until(fact, limit = 60_000) {
    const end = this.now + limit;
    await settle();
    while (!fact()) {
      if (this.now >= end) throw new Error(`it did not happen within ${limit} ms: ${fact}`);
      await this.advance(50);
    }
  }
}

/**
 * Numbers that look random and are the same each time (mulberry32).
 * @param {number} seed
 */
export function generator(seed) {
  let state = seed >>> 0;
  const random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    random,
    /** @param {number} n */ below: (n) => Math.floor(random() * n),
    /** @template T @param {T[]} list @returns {T} */ pick: (list) => list[Math.floor(random() * list.length)],
  };
}
