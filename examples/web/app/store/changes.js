// Who wants to know what changed, told together and not too often.
//
// Theory of operation. Whoever changes a list touches the keys that it changed. The first touch asks `schedule` (a
// frame of the page) for a moment; then each watcher is told once, with all keys that were touched since. A key says
// only *that* something changed: the watcher looks at the list for what is there now, or no longer is. So any number of
// events between two frames cost one pass over what they left behind.

/** @import {Changes} from "./types.js" */

export class Watchers {
  /** @type {{lists: readonly string[], tell: (changes: Changes) => void}[]} */
  #watchers = [];
  /** @type {Changes} */
  #changes = new Map();
  #scheduled = false;
  #schedule;

  /** @param {(run: () => void) => void} schedule calls `run` once, later */
  constructor(schedule) {
    this.#schedule = schedule;
  }

  /**
   * To begin with, all of `lists` counts as changed.
   * @param {readonly string[]} lists
   * @param {(changes: Changes) => void} tell
   */
  watch(lists, tell) {
    this.#watchers.push({ lists, tell });
    for (const list of lists) this.touch(list);
  }

  /**
   * @param {string} list
   * @param {string} [key] left out: all of it
   */
  touch(list, key) {
    const keys = this.#changes.get(list);
    if (key === undefined) this.#changes.set(list, null);
    else if (keys === undefined) this.#changes.set(list, new Set([key]));
    else keys?.add(key);
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#schedule(() => this.#tell());
  }

  #tell() {
    const changes = this.#changes;
    this.#changes = new Map();
    this.#scheduled = false;
    for (const { lists, tell } of this.#watchers) {
      if (!lists.some((list) => changes.has(list))) continue;
      try {
        tell(changes);
      } catch (error) {
        // One watcher's bug is reported, and costs the others nothing.
        reportError(error);
      }
    }
  }
}
