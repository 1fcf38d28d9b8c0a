// What we say: the local echo, which is what the feed has not shown yet, and which messages are ours.
//
// Theory of operation. A message is shown as pending from when it is written, and goes when the feed shows it: the event
// carries the command's id as `ref`. The answer may come before the event or after it, so an accepted message stays
// until the feed has reached the cursor in the answer. A snapshot settles it too: what was accepted is in there, or in
// the history before it. A refused message stays with its reason until it is tried again or given up, and one whose
// outcome nobody knows any more says so.
//
// A message is ours when its event carries the `ref` of one that we wait for under our own nickname, or when the answer
// to our command names its cursor. The nickname alone would not do: somebody else may have had it before us.

import { hasSeen } from "./cursor.js";
import { keyed } from "./keyed.js";
import { troubleOf } from "./trouble.js";

/** @import {Command, MessageEvent, Reply} from "../cloudchat/types.js" */
/** @import {ClientPort, Trouble, Unsent} from "./types.js" */

export class Outbox {
  /** By `ref`, in the order of writing. @type {Map<string, Unsent>} */
  unsent = new Map();
  /** Cursors of our own messages. @type {Set<string>} */
  own = new Set();
  #touch;

  /** @param {(list: string, key?: string) => void} touch told of every change */
  constructor(touch) {
    this.#touch = touch;
  }

  /**
   * @param {ClientPort} client
   * @param {string} text
   * @param {string} at now, RFC 3339
   */
  say(client, text, at) {
    const ref = client.newId();
    this.#put({ ref, text, at, state: "pending" });
    // What the server answers comes as `answered`, also to what was sent before a reload.
    client.execute({ type: "say", id: ref, text }).catch((error) => {
      if (this.unsent.get(ref)?.state !== "pending") return;
      const trouble = troubleOf(error);
      const known = trouble.code !== "uncertain" && trouble.code !== "ended";
      this.fail(ref, known ? "failed" : "uncertain", trouble);
    });
  }

  /** @param {Unsent} unsent */
  #put(unsent) {
    this.unsent.set(unsent.ref, unsent);
    this.#touch("unsent", unsent.ref);
  }

  /** @param {string} ref @returns {Unsent | undefined} what is given up, or shown by the feed */
  take(ref) {
    const unsent = this.unsent.get(ref);
    if (this.unsent.delete(ref)) this.#touch("unsent", ref);
    return unsent;
  }

  /**
   * The feed shows a message.
   * @param {MessageEvent} message
   * @param {string} nickname ours
   * @returns {boolean} whether it is the one that we wait for
   */
  isEcho(message, nickname) {
    if (message.ref === undefined || message.nickname !== nickname || !this.take(message.ref)) return false;
    this.own.add(message.cursor);
    return true;
  }

  /**
   * The server has answered; the feed stands at `here`.
   * @param {string} ref
   * @param {Reply} reply
   * @param {string} here
   */
  answer(ref, reply, here) {
    if (reply.type === "error") return this.fail(ref, "failed", troubleOf(reply));
    const { cursor } = reply;
    const unsent = this.unsent.get(ref);
    if (hasSeen(here, cursor)) this.take(ref);
    else if (unsent) this.unsent.set(ref, { ...unsent, accepted: cursor });
    if (this.own.has(cursor)) return;
    this.own.add(cursor);
    this.#touch("messages", cursor);
  }

  /**
   * @param {string} ref
   * @param {"failed" | "uncertain"} state
   * @param {Trouble} [trouble]
   */
  fail(ref, state, trouble) {
    const unsent = this.unsent.get(ref);
    if (unsent) this.#put({ ...unsent, state, trouble });
  }

  /** This tab is a copy of another, which goes on: what was ours is the other's. */
  disown() {
    for (const cursor of this.own) this.#touch("messages", cursor);
    this.own.clear();
    for (const ref of this.unsent.keys()) this.take(ref);
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
        this.#put({ ref: command.id, text: command.text, at: now, state: "pending" });
    this.#touch("unsent");
  }
}
