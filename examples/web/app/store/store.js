// The one store of the page: all that is known, and all that can be done about it.
//
// Theory of operation. Every item of the client goes through `apply`, and nothing else changes what is known of the
// workspace: a command that we give shows only as *asked* (or, a message, as pending) until the feed says what became of
// it. Widgets watch lists and look at them when they are told; they call the actions below and know nothing of one
// another. An action never throws: what went wrong is put where it belongs (at the message, at the card).

import { Watchers } from "./changes.js";
import { Fold } from "./fold.js";
import { Orders } from "./orders.js";
import { Outbox } from "./outbox.js";
import { Participation } from "./participation.js";
import { Past } from "./past.js";
import { restore, save } from "./saved.js";

/** @import {Item, MessageEvent, Order, Status, Wish} from "../cloudchat/types.js" */
/** @import {Card, Changes, ClientPort, Unsent} from "./types.js" */

/** The card of what does not exist yet: what we asked to create, and why not. */
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

  #watchers;
  #fold;
  #outbox;
  #orders;
  #past;
  #looking = true;
  /** What a page before a reload had not sent. @type {Unsent[]} */
  #left = [];
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
    this.#orders = new Orders(touch);
    this.#past = new Past(this.#fold, touch);
    this.me = new Participation(touch);
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
  get limits() {
    return this.#connected.limits;
  }
  /** The time as the server has it, ms since the epoch. */
  get serverTime() {
    return this.#now() + this.#connected.skew;
  }

  /** @param {MessageEvent} message */
  isOwn(message) {
    return this.#outbox.own.has(message.cursor);
  }

  /** Why a message could not be taken back. @param {string} cursor */
  troubleOf(cursor) {
    return this.#orders.troubles.get(cursor);
  }

  /** The ids of all cards: instances, those being created, and one that could not be. */
  get cards() {
    const { listed, operations, failures } = this.#fold.instances;
    return new Set([...listed.keys(), ...operations.keys(), ...failures.keys()]);
  }

  /** @param {string} id @returns {Card} */
  card(id) {
    const { listed, coming, operations, failures } = this.#fold.instances;
    return {
      id,
      instance: listed.get(id) ?? coming.get(id),
      operation: operations.get(id),
      failure: failures.get(id),
      asked: this.#orders.asked.get(id),
      waiting: this.#orders.asked.has(id) && this.status.state !== "open",
      trouble: this.#orders.troubles.get(id),
    };
  }

  /**
   * Be told, once a frame, what changed of `lists`: participants, messages, unsent, instances (the cards), worklog,
   * past, loss, status, me, unread.
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
    this.#outbox.resume(this.#left, client.unanswered, this.#moment);
    this.me.connect(client);
  }

  get #moment() {
    return new Date(this.#now()).toISOString();
  }

  /** @returns {ClientPort} */
  get #connected() {
    if (!this.#client) throw new Error("the store is not connected");
    return this.#client;
  }

  /** @param {Item} item */
  apply(item) {
    const folded = this.#fold.apply(item);
    if (folded === "replaced") {
      this.#outbox.settle();
      this.#past.restart();
    }
    this.me.apply(item);
    switch (item.type) {
      case "message":
        if (folded && !this.#outbox.isEcho(item, this.me.nickname)) this.#arrived(item);
        break;
      case "received":
      case "failed":
        this.#orders.troubles.delete(item.instance.id);
        break;
      case "status":
        if ((item.state === "open") !== (this.status.state === "open")) this.#orders.look();
        this.status = item;
        this.#watchers.touch("status");
        break;
      case "nickname_lost":
        if (item.refusal.code === "duplicated") this.#outbox.disown();
        break;
      case "answered":
        if (item.command.type === "say") this.#outbox.answer(item.command.id, item.reply, this.cursor);
        break;
      case "uncertain":
        this.#outbox.fail(item.command.id, "uncertain");
        break;
    }
  }

  /** Somebody else has said something. @param {MessageEvent} message */
  #arrived({ cursor }) {
    if (this.#looking) return;
    this.unread += 1;
    this.#watchers.touch("unread", cursor);
  }

  /** @param {boolean} looking whether somebody sees the messages */
  look(looking) {
    this.#looking = looking;
    if (!looking || !this.unread) return;
    this.unread = 0;
    this.#watchers.touch("unread");
  }

  // -- actions

  reconnect() {
    this.#connected.reconnect();
  }

  /** @param {string} text */
  say(text) {
    this.#outbox.say(this.#connected, text, this.#moment);
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
    await this.#orders.give(this.#connected, "messages", cursor, { type: "redact", message: cursor });
  }

  /** @param {string} name "" for none @returns {Promise<boolean>} whether the server took it */
  create(name) {
    return this.#order(NEW, name ? { type: "create", name } : { type: "create" });
  }

  /** @param {Exclude<Order, "create">} type @param {string} instance */
  async operate(type, instance) {
    const { asked, operation } = this.card(instance);
    if (!asked && !operation) await this.#order(instance, { type, instance });
  }

  /** @param {string} id @param {Wish} wish */
  async #order(id, wish) {
    const trouble = await this.#orders.give(this.#connected, "instances", id, wish);
    // The client sends nothing for who is nobody: what is done here is done by somebody.
    if (trouble?.code === "not_joined") {
      this.dismiss(id);
      this.me.ask(true);
    }
    return trouble === null;
  }

  /** Forget what went wrong with an instance. @param {string} id */
  dismiss(id) {
    this.#orders.troubles.delete(id);
    this.#fold.instances.failures.delete(id);
    this.#watchers.touch("instances", id);
  }

  dismissLoss() {
    this.#fold.loss = null;
    this.#watchers.touch("loss");
  }

  /** @param {"messages" | "worklog"} list */
  async older(list) {
    await this.#past.load(this.#connected, list);
  }

  // -- over reloads

  /** @param {Storage} storage @param {string} key */
  save(storage, key) {
    const { cursor, participants, messages, instances, worklog, loss } = this.#fold;
    save(storage, key, {
      cursor,
      participants: [...participants.values()],
      messages: [...messages.values()],
      instances: [...instances.listed.values()],
      operations: [...instances.operations.values()],
      worklog: [...worklog.values()],
      unsent: [...this.unsent.values()],
      own: [...this.#outbox.own],
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
    this.#outbox.own = new Set(saved.own);
    this.#left = saved.unsent;
    this.draft = saved.draft;
    this.reading = saved.reading;
  }
}
