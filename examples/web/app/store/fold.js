// What the feed says, folded frame by frame into lists.
//
// Theory of operation. A snapshot sets the lists, an event moves them on as the server's own state was moved by it. So
// at every cursor the lists hold what a fresh snapshot at that cursor would, and of messages and worklog also what came
// before its newest 50, up to a bound. Only an event, a heartbeat and the last part of a snapshot move the cursor. What
// comes twice, because a client opens the new feed before it lets go of the old one, is known by its cursor.
//
// After a loss (`gap`) the lists are what the snapshot says and nothing older: what was redacted meanwhile must not
// stay on somebody's screen. Older pages can be asked for again.
//
// Lists are Maps in order: messages and worklog by cursor, oldest first; participants by nickname.

import { hasSeen } from "./cursor.js";
import { Instances } from "./instances.js";
import { keyed } from "./keyed.js";

/**
 * @import {ChatEvent, Gap, Instance, InstanceEvent, Item, MessageEvent, Operation, Participant, Snapshot}
 *   from "../cloudchat/types.js"
 * @import {Loss} from "./types.js"
 */

/** How many messages, and how many worklog entries, are held; the oldest go by the batch. */
export const HELD = 10_000;
const BATCH = 500;

const LISTS = /** @type {const} */ (["participants", "messages", "instances", "worklog", "loss"]);

/**
 * @typedef {object} Contents
 * @property {string} cursor
 * @property {Participant[]} participants
 * @property {MessageEvent[]} messages
 * @property {Instance[]} instances
 * @property {Operation[]} operations
 * @property {InstanceEvent[]} worklog
 * @property {Loss | null} loss
 */

export class Fold {
  cursor = "";
  /** @type {Map<string, Participant>} */
  participants = new Map();
  /** @type {Map<string, MessageEvent>} */
  messages = new Map();
  instances = new Instances();
  /** @type {Map<string, InstanceEvent>} */
  worklog = new Map();
  /** The last loss that the lists begin after. @type {Loss | null} */
  loss = null;
  /** Messages that were redacted and are not held: a page under way may still have their text. @type {Set<string>} */
  redacted = new Set();

  /** @type {Snapshot[]} */
  #parts = [];
  /** @type {Gap | null} */
  #gap = null;
  #touch;

  /** @param {(list: string, key?: string) => void} touch told of every change */
  constructor(touch) {
    this.#touch = touch;
  }

  /**
   * Fold one frame; frames and items that say nothing about the workspace change nothing.
   * @param {Item} item
   * @returns {"" | "moved" | "replaced"} by an event that had not been seen, by a snapshot that is complete
   */
  apply(item) {
    switch (item.type) {
      case "welcome":
        // A new feed: what is missing of the old one's snapshot will not come.
        this.#parts = [];
        return "";
      case "gap":
        this.#gap = item;
        return "";
      case "snapshot":
        return this.#replace(item) ? "replaced" : "";
      case "heartbeat":
        this.cursor = item.cursor;
        return "";
      case "joined":
      case "left":
      case "message":
      case "redacted":
      case "received":
      case "created":
      case "started":
      case "stopped":
      case "removed":
      case "failed":
        if (hasSeen(this.cursor, item.cursor)) return "";
        this.cursor = item.cursor;
        this.#move(item);
        return "moved";
      default:
        return "";
    }
  }

  /** @param {Snapshot} part @returns {boolean} whether it was the last */
  #replace(part) {
    if (this.#parts[0] && this.#parts[0].cursor !== part.cursor) this.#parts = [];
    this.#parts.push(part);
    if (part.more) return false;
    const parts = this.#parts;
    this.#parts = [];
    const gap = this.#gap;
    this.#gap = null;
    this.resume({
      cursor: part.cursor,
      participants: parts.flatMap((one) => one.participants ?? []),
      messages: parts.flatMap((one) => one.messages ?? []),
      instances: parts.flatMap((one) => one.instances ?? []),
      operations: parts.flatMap((one) => one.operations ?? []),
      worklog: parts.flatMap((one) => one.worklog ?? []),
      loss: gap && { after: gap.after, reason: gap.reason, before: part.cursor },
    });
    return true;
  }

  /**
   * Take all lists from elsewhere: a snapshot, or what was saved before a reload.
   * @param {Contents} contents
   */
  resume({ cursor, participants, messages, instances, operations, worklog, loss }) {
    this.cursor = cursor;
    this.participants = keyed(participants, (one) => one.nickname);
    this.messages = keyed(messages, (one) => one.cursor);
    this.instances.replace(instances, operations, worklog);
    this.worklog = keyed(worklog, (one) => one.cursor);
    this.loss = loss;
    this.redacted.clear();
    for (const list of LISTS) this.#touch(list);
  }

  /** @param {ChatEvent | InstanceEvent} event */
  #move(event) {
    switch (event.type) {
      case "joined":
        this.participants.set(event.nickname, { nickname: event.nickname, since: event.at });
        this.#touch("participants", event.nickname);
        break;
      case "left":
        this.participants.delete(event.nickname);
        this.#touch("participants", event.nickname);
        break;
      case "message":
        this.messages.set(event.cursor, event);
        this.#touch("messages", event.cursor);
        this.#bound("messages");
        break;
      case "redacted":
        this.#redact(event.message);
        break;
      default:
        this.worklog.set(event.cursor, event);
        this.#touch("worklog", event.cursor);
        this.#bound("worklog");
        for (const id of this.instances.apply(event)) this.#touch("instances", id);
    }
  }

  /** @param {string} cursor */
  #redact(cursor) {
    const known = this.messages.get(cursor);
    if (known) {
      this.messages.set(cursor, withoutText(known));
      this.#touch("messages", cursor);
    } else {
      this.redacted.add(cursor);
      // One page is under way at a time, and not for long: the newest are enough.
      for (const oldest of this.redacted) if (this.redacted.size > HELD) this.redacted.delete(oldest);
    }
  }

  /**
   * Put a page of older entries before those held.
   * @param {"messages" | "worklog"} list
   * @param {readonly (MessageEvent | InstanceEvent)[]} page newest first, as the server gives them
   */
  prepend(list, page) {
    const held = /** @type {Map<string, any>} */ (this[list]);
    const fresh = page.filter((entry) => !held.has(entry.cursor)).reverse();
    const older = keyed(
      fresh.map((entry) =>
        entry.type === "message" && this.redacted.has(entry.cursor) ? withoutText(entry) : entry,
      ),
      (entry) => entry.cursor,
    );
    for (const [cursor, entry] of held) older.set(cursor, entry);
    /** @type {Map<string, any>} */ (this[list]) = older;
    for (const { cursor } of fresh) this.#touch(list, cursor);
  }

  /** @param {"messages" | "worklog"} list */
  #bound(list) {
    const held = this[list];
    if (held.size <= HELD + BATCH) return;
    for (const cursor of held.keys()) {
      if (held.size <= HELD) break;
      held.delete(cursor);
      this.#touch(list, cursor);
    }
  }
}

/**
 * The message as it stands once its text was taken back.
 * @param {MessageEvent} message
 * @returns {MessageEvent}
 */
export function withoutText(message) {
  return { ...message, text: "", redacted: true };
}
