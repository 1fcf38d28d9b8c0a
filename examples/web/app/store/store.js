// The one store of the page: all that is known, and all that can be done about it.
//
// Theory of operation. Every item of the client goes through `apply`, and nothing else changes what is known of the
// workspace: a command that we give shows only as *asked* (or, a message, as pending) until the feed says what became of
// it. Widgets watch lists and look at them when they are told; they call the actions below and know nothing of one
// another. An action never throws: what went wrong is put where it belongs (at the message, at the card).
//
// A message is ours when its event carries the `ref` of one that we wait for under our own nickname, or when the answer
// to our command names its cursor. The nickname alone would not do: somebody else may have had it before us.

import { Watchers } from "./changes.js";
import { Fold } from "./fold.js";
import { Outbox } from "./outbox.js";
import { Past } from "./past.js";
import { restore, save } from "./saved.js";
import { troubleOf } from "./trouble.js";

/** @import {Command, Item, MessageEvent, Order, Reply, Status, Wish} from "../cloudchat/types.js" */
/** @import {Card, Changes, ClientPort, Trouble} from "./types.js" */

/** The card of what does not exist yet: `asked` and `trouble` of our own creates. */
export const NEW = "";

export class Store {
  /** @type {Status} */
  status = { type: "status", state: "connecting", transport: "ws", shared: false, why: "", detail: "" };
  /** Messages of others that came while nobody looked. */
  unread = 0;
  /** What is written in the composer. */
  draft = "";
  /** The message at the top of the screen; "" at the newest. */
  reading = "";
  /** Why we are no longer in the chat, though we wanted to be. @type {Trouble | null} */
  lost = null;
  /** The nickname that we had last. */
  lastNickname = "";
  /** Whether the reader is asked for a nickname. */
  asking = false;

  #watchers;
  #fold;
  #outbox;
  #past;
  /** Cursors of our own messages. @type {Set<string>} */
  #own = new Set();
  /** Our commands on their way, by instance. @type {Map<string, string>} */
  #asked = new Map();
  /** Why our last command was refused, by instance or by message. @type {Map<string, Trouble>} */
  #troubles = new Map();
  #looking = true;
  /** @type {import("./saved.js").Saved["unsent"]} */
  #saved = [];
  /** @type {ClientPort | undefined} */
  #client;
  #now;

  /**
   * @param {(run: () => void) => void} schedule calls `run` once, later: in the page's next frame
   * @param {() => number} [now] ms since the epoch
   */
  constructor(schedule, now = Date.now) {
    this.#watchers = new Watchers(schedule);
    /** @param {string} list @param {string} [key] */
    const touch = (list, key) => this.#watchers.touch(list, key);
    this.#fold = new Fold(touch);
    this.#outbox = new Outbox(touch);
    this.#past = new Past(this.#fold, touch);
    this.#now = now;
  }

  // -- what is known

  get cursor() {
    return this.#fold.cursor;
  }
  get participants() {
    return this.#fold.participants;
  }
  get messages() {
    return this.#fold.messages;
  }
  get worklog() {
    return this.#fold.worklog;
  }
  get loss() {
    return this.#fold.loss;
  }
  get unsent() {
    return this.#outbox.unsent;
  }
  get past() {
    return this.#past.reach;
  }
  /**
   * Our nickname, "" while we are not in the chat. While the connection comes back, after a loss or a reload, it is
   * still ours; while the reader is asked for one, what is wanted is not ours yet.
   */
  get nickname() {
    return this.#client?.nickname || (this.asking ? "" : this.#client?.wanted) || "";
  }
  get limits() {
    return this.client.limits;
  }
  /** The time as the server has it, ms since the epoch. */
  get serverTime() {
    return this.#now() + (this.#client?.skew ?? 0);
  }
  /** @returns {ClientPort} */
  get client() {
    if (!this.#client) throw new Error("the store is not connected");
    return this.#client;
  }

  /** @param {MessageEvent} message */
  isOwn(message) {
    return this.#own.has(message.cursor);
  }

  /** Why a message could not be taken back. @param {string} cursor */
  troubleOf(cursor) {
    return this.#troubles.get(cursor);
  }

  /** The ids of all cards: instances, those being created, and one that could not be. */
  get cards() {
    return new Set([...this.#fold.instances.keys(), ...this.#fold.operations.keys(), ...this.#fold.failures.keys()]);
  }

  /** @param {string} id @returns {Card} */
  card(id) {
    return {
      id,
      instance: this.#fold.instances.get(id) ?? this.#fold.coming.get(id),
      operation: this.#fold.operations.get(id),
      failure: this.#fold.failures.get(id),
      asked: this.#asked.get(id),
      trouble: this.#troubles.get(id),
    };
  }

  /**
   * Be told, once a frame, what changed of `lists`: participants, messages, unsent, instances (cards), worklog, past,
   * loss, status, me, unread.
   * @param {readonly string[]} lists
   * @param {(changes: Changes) => void} tell
   */
  watch(lists, tell) {
    this.#watchers.watch(lists, tell);
  }

  // -- what changes it

  /** @param {ClientPort} client whose feed begins at this store's cursor */
  connect(client) {
    this.#client = client;
    client.subscribe((item) => this.apply(item));
    this.#outbox.resume(this.#saved, client.unanswered, new Date(this.#now()).toISOString());
    this.#saved = [];
    this.#watchers.touch("me");
  }

  /** @param {Item} item */
  apply(item) {
    const folded = this.#fold.apply(item);
    if (folded === "replaced") {
      this.#outbox.settle();
      this.#past.restart();
    }
    switch (item.type) {
      case "message":
        if (folded) this.#arrived(item);
        break;
      case "received":
      case "failed":
        this.#troubles.delete(item.instance.id);
        break;
      case "status":
        this.status = item;
        this.#watchers.touch("status");
        break;
      case "joined_as":
        this.lost = null;
        this.lastNickname = item.nickname;
        this.#watchers.touch("me");
        break;
      case "nickname_lost":
        this.lost = troubleOf(item.refusal);
        if (this.lost.code === "duplicated") this.#disown();
        this.#watchers.touch("me");
        this.ask(true);
        break;
      case "answered":
        this.#answered(item.command, item.reply);
        break;
      case "uncertain":
        this.#outbox.fail(item.command.id, "uncertain");
        break;
    }
  }

  /** @param {MessageEvent} message */
  #arrived(message) {
    const echo = message.ref !== undefined && message.nickname === this.nickname && this.#outbox.take(message.ref);
    if (echo) this.#own.add(message.cursor);
    else if (!this.#looking) {
      this.unread += 1;
      this.#watchers.touch("unread", message.cursor);
    }
  }

  /** This tab is a copy of another, which goes on: what was ours is the other's. */
  #disown() {
    this.#own.clear();
    for (const ref of this.unsent.keys()) this.#outbox.take(ref);
    this.#watchers.touch("messages");
  }

  /** @param {Command} command @param {Reply} reply */
  #answered(command, reply) {
    if (command.type !== "say") return;
    if (reply.type === "error") this.#outbox.fail(command.id, "failed", troubleOf(reply));
    else {
      this.#own.add(reply.cursor);
      this.#outbox.accept(command.id, reply.cursor, this.cursor);
      this.#watchers.touch("messages", reply.cursor);
    }
  }

  /** @param {boolean} looking whether somebody sees the messages */
  look(looking) {
    this.#looking = looking;
    if (!looking || !this.unread) return;
    this.unread = 0;
    this.#watchers.touch("unread");
  }

  // -- actions

  /** Ask the reader for a nickname, or stop asking. @param {boolean} asking */
  ask(asking) {
    if (asking === this.asking) return;
    this.asking = asking;
    if (!asking) this.lost = null;
    this.#watchers.touch("asking");
    this.#watchers.touch("me");
  }

  /**
   * Enter the chat, or change the nickname.
   * @param {string} nickname
   * @returns {Promise<Trouble | null>} why not
   */
  async join(nickname) {
    try {
      await this.client.join(nickname);
      return null;
    } catch (error) {
      return troubleOf(error);
    } finally {
      this.#watchers.touch("me");
    }
  }

  async leave() {
    try {
      await this.client.leave();
    } catch (error) {
      this.lost = troubleOf(error);
    }
    this.#watchers.touch("me");
  }

  /** @param {string} text */
  say(text) {
    const ref = this.client.newId();
    this.#outbox.put({ ref, text, at: new Date(this.#now()).toISOString(), state: "pending" });
    // What the server answers comes as `answered`, also to what was sent before a reload.
    this.client.execute({ type: "say", id: ref, text }).catch((error) => {
      if (this.unsent.get(ref)?.state !== "pending") return;
      const trouble = troubleOf(error);
      const known = trouble.code !== "uncertain" && trouble.code !== "ended";
      this.#outbox.fail(ref, known ? "failed" : "uncertain", trouble);
    });
  }

  /** Say again what failed. @param {string} ref */
  retry(ref) {
    const unsent = this.#outbox.take(ref);
    if (unsent) this.say(unsent.text);
  }

  /** @param {string} ref */
  discard(ref) {
    this.#outbox.take(ref);
  }

  /** Take the text of an own message back. @param {string} cursor */
  async redact(cursor) {
    await this.#ask("messages", cursor, { type: "redact", message: cursor });
  }

  /** @param {string} name "" for none @returns {Promise<boolean>} whether the server took it */
  create(name) {
    return this.#ask("instances", NEW, name ? { type: "create", name } : { type: "create" });
  }

  /** @param {Exclude<Order, "create">} type @param {string} instance */
  async operate(type, instance) {
    if (this.#asked.has(instance) || this.#fold.operations.has(instance)) return;
    await this.#ask("instances", instance, { type, instance });
  }

  /**
   * @param {string} list
   * @param {string} key
   * @param {Wish} wish
   */
  async #ask(list, key, wish) {
    this.#asked.set(key, wish.type);
    this.#troubles.delete(key);
    this.#watchers.touch(list, key);
    try {
      await this.client.execute(wish);
      return true;
    } catch (error) {
      const trouble = troubleOf(error);
      // The client sends nothing for who is nobody: what is done here is done by somebody.
      if (trouble.code === "not_joined") this.ask(true);
      else this.#troubles.set(key, trouble);
      return false;
    } finally {
      this.#asked.delete(key);
      this.#watchers.touch(list, key);
    }
  }

  /** Forget what went wrong with an instance. @param {string} id */
  dismiss(id) {
    this.#troubles.delete(id);
    this.#fold.forgetFailure(id);
    this.#watchers.touch("instances", id);
  }

  dismissLoss() {
    this.#fold.loss = null;
    this.#watchers.touch("loss");
  }

  /** @param {"messages" | "worklog"} list */
  async older(list) {
    await this.#past.load(this.client, list);
  }

  // -- over reloads

  /** @param {Storage} storage @param {string} key */
  save(storage, key) {
    const { cursor, participants, messages, instances, operations, worklog, loss } = this.#fold;
    save(storage, key, {
      cursor,
      participants: [...participants.values()],
      messages: [...messages.values()],
      instances: [...instances.values()],
      operations: [...operations.values()],
      worklog: [...worklog.values()],
      unsent: [...this.unsent.values()],
      own: [...this.#own],
      loss,
      draft: this.draft,
      reading: this.reading,
    });
  }

  /** Before `connect`: begin where a page before a reload ended. @param {Storage} storage @param {string} key */
  restore(storage, key) {
    const saved = restore(storage, key);
    if (!saved) return;
    this.#fold.resume(saved);
    this.#past.restart();
    this.#own = new Set(saved.own);
    this.#saved = saved.unsent;
    this.draft = saved.draft;
    this.reading = saved.reading;
  }
}
