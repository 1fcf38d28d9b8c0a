// The local echo: what we said and the feed has not shown yet.
//
// Theory of operation. A message is shown as pending from when it is written, and goes when the feed shows it: the event
// carries the command's id as `ref`. The answer may come before the event or after it, so an accepted message stays
// until the feed has reached the cursor in the answer. A snapshot settles it too: what was accepted is in there, or in
// the history before it. A refused message stays with its reason until it is tried again or given up, and one whose
// outcome nobody knows any more says so.

import { hasSeen } from "./cursor.js";
import { keyed } from "./fold.js";

/** @import {Command} from "../cloudchat/types.js" */
/** @import {Trouble, Unsent} from "./types.js" */

export class Outbox {
  /** By `ref`, in the order of writing. @type {Map<string, Unsent>} */
  unsent = new Map();
  #touch;

  /** @param {(list: string, key?: string) => void} touch told of every change */
  constructor(touch) {
    this.#touch = touch;
  }

  /** @param {Unsent} unsent */
  put(unsent) {
    this.unsent.set(unsent.ref, unsent);
    this.#touch("unsent", unsent.ref);
  }

  /** @param {string} ref @returns {Unsent | undefined} what was given up, or shown by the feed */
  take(ref) {
    const unsent = this.unsent.get(ref);
    if (this.unsent.delete(ref)) this.#touch("unsent", ref);
    return unsent;
  }

  /**
   * The server has accepted it, at `cursor`; the feed stands at `here`.
   * @param {string} ref
   * @param {string} cursor
   * @param {string} here
   */
  accept(ref, cursor, here) {
    const unsent = this.unsent.get(ref);
    if (!unsent) return;
    if (hasSeen(here, cursor)) this.take(ref);
    else this.unsent.set(ref, { ...unsent, accepted: cursor });
  }

  /**
   * @param {string} ref
   * @param {"failed" | "uncertain"} state
   * @param {Trouble} [trouble]
   */
  fail(ref, state, trouble) {
    const unsent = this.unsent.get(ref);
    if (unsent) this.put({ ...unsent, state, trouble });
  }

  /** A snapshot has replaced all that was known. */
  settle() {
    for (const { ref, accepted } of [...this.unsent.values()]) if (accepted) this.take(ref);
  }

  /**
   * Begin with what a page before a reload left. What the client still has to send is pending, whatever was saved; what
   * was saved as pending, but is neither to be sent nor accepted, is not ours any more (a tab that was duplicated).
   * @param {readonly Unsent[]} saved
   * @param {readonly Command[]} unanswered
   * @param {string} now RFC 3339
   */
  resume(saved, unanswered, now) {
    const open = new Set(unanswered.map((command) => command.id));
    const ours = saved.filter(({ ref, state, accepted }) => state !== "pending" || accepted || open.has(ref));
    this.unsent = keyed(ours, (one) => one.ref);
    for (const command of unanswered)
      if (command.type === "say" && !this.unsent.has(command.id))
        this.put({ ref: command.id, text: command.text, at: now, state: "pending" });
    this.#touch("unsent");
  }
}
