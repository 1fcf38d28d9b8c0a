// A workspace as a server would keep it, small enough to be seen through: what happens in it at random, what a snapshot
// of it is, and a client that hands on what a test says.

import { RefusedError } from "../../app/cloudchat/cloudchat.js";
import { Store } from "../../app/store/store.js";

/** @import {ChatEvent, Command, InstanceEvent, Item, MessageEvent, Operation, Instance, Reply, Snapshot, Wish} from "../../app/cloudchat/types.js" */

const RECENT = 50;
const NAMES = ["Alexandra", "Petr", "Ivan"];

/** @param {number} seed @returns {() => number} numbers from 0 to 1, the same for the same seed */
export function randomFrom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

/** @param {number} offset */
export const moment = (offset) => new Date(Date.UTC(2026, 0, 1) + offset * 60_000).toISOString();

/**
 * @param {number} offset
 * @param {Partial<MessageEvent>} [more]
 * @returns {MessageEvent}
 */
export function message(offset, more) {
  const cursor = `e-${offset}`;
  return { type: "message", cursor, at: moment(offset), nickname: "Petr", text: `no. ${offset}`, ref: `r${offset}`, ...more };
}

export class World {
  offset = 0;
  /** @type {Map<string, string>} */ present = new Map();
  /** @type {MessageEvent[]} */ messages = [];
  /** @type {Map<string, Instance>} */ instances = new Map();
  /** @type {Map<string, Operation & {of: Instance}>} */ operations = new Map();
  /** @type {InstanceEvent[]} */ worklog = [];
  #random;

  /** @param {() => number} random */
  constructor(random) {
    this.#random = random;
  }

  get cursor() {
    return `e-${this.offset}`;
  }

  /** @template T @param {readonly T[]} list @returns {T} */
  #one(list) {
    return list[Math.floor(this.#random() * list.length)];
  }

  /** @returns {ChatEvent | InstanceEvent} what happens next */
  step() {
    this.offset += 1 + Math.floor(this.#random() * 2);
    const { cursor } = this;
    const at = moment(this.offset);
    const dice = this.#random();
    if (dice < 0.15) return this.#comeOrGo(cursor, at);
    if (dice < 0.2 && this.messages.length) return this.#redact(cursor, at);
    if (dice < 0.55) {
      const said = message(this.offset, { nickname: this.#one(NAMES) });
      this.messages.push(said);
      return said;
    }
    return dice < 0.8 && this.operations.size ? this.#end(cursor, at) : this.#begin(cursor, at);
  }

  /** @param {string} cursor @param {string} at @returns {ChatEvent} */
  #comeOrGo(cursor, at) {
    const nickname = this.#one(NAMES);
    if (this.present.delete(nickname)) return { type: "left", cursor, at, nickname, reason: "left" };
    this.present.set(nickname, at);
    return { type: "joined", cursor, at, nickname };
  }

  /** @param {string} cursor @param {string} at @returns {ChatEvent} */
  #redact(cursor, at) {
    const index = Math.floor(this.#random() * this.messages.length);
    this.messages[index] = { ...this.messages[index], text: "", redacted: true };
    return { type: "redacted", cursor, at, message: this.messages[index].cursor, by: "Petr" };
  }

  /** @param {string} cursor @param {string} at @returns {InstanceEvent} */
  #begin(cursor, at) {
    const idle = [...this.instances.values()].filter(({ id }) => !this.operations.has(id));
    const known = this.#random() < 0.6 ? this.#one([...idle, undefined]) : undefined;
    const command = known ? this.#one([known.state === "running" ? "stop" : "start", "remove"]) : "create";
    const instance = known ?? { id: `i${this.offset}`, name: `web-${this.offset}` };
    const operation = { id: `o${this.offset}`, command: /** @type {"start"} */ (command), received_at: at };
    this.operations.set(instance.id, { ...operation, instance: instance.id, by: null, done: false, of: instance });
    if (known) this.instances.set(known.id, { ...known, operation });
    return this.#log({ type: "received", cursor, at, command: operation.command, instance, operation, by: null });
  }

  /** @param {string} cursor @param {string} at @returns {InstanceEvent} */
  #end(cursor, at) {
    const { of, id, command, received_at } = this.#one([...this.operations.values()]);
    const operation = { id, command, received_at };
    this.operations.delete(of.id);
    if (this.#random() < 0.3) {
      if (of.state) this.instances.set(of.id, of);
      return this.#log({ type: "failed", cursor, at, command, instance: of, operation, by: null, reason: "broken", detail: "!" });
    }
    const state = command === "start" ? "running" : "stopped";
    const instance = command === "remove" ? { id: of.id } : { ...of, state: /** @type {"running"} */ (state) };
    if (command === "remove") this.instances.delete(of.id);
    else this.instances.set(of.id, instance);
    const type = /** @type {const} */ ({ create: "created", start: "started", stop: "stopped", remove: "removed" })[command];
    return this.#log({ type, cursor, at, instance, operation, by: null });
  }

  /** @template {InstanceEvent} E @param {E} event */
  #log(event) {
    this.worklog.push(event);
    return event;
  }

  /** @returns {Required<Omit<Snapshot, "more">>} */
  snapshot() {
    return {
      type: "snapshot",
      cursor: this.cursor,
      participants: [...this.present].map(([nickname, since]) => ({ nickname, since })),
      messages: this.messages.slice(-RECENT),
      instances: [...this.instances.values()],
      operations: [...this.operations.values()].map(({ of: _, ...operation }) => operation),
      worklog: this.worklog.slice(-RECENT),
    };
  }
}

/** A client that sends nothing: the test says what comes. */
export class FakeClient {
  nickname = "";
  wanted = "";
  skew = 0;
  limits = { text: 4096, nickname: 32, frame: 65536, unanswered: 100 };
  /** @type {Command[]} */ unanswered = [];
  /** @type {Command[]} */ sent = [];
  /** @type {{list: string, before?: string, answer: (page: {items: any[], next: string | null}) => void, fail: (error: Error) => void}[]} */
  asked = [];
  /** @type {Map<string, {resolve: (reply: any) => void, reject: (error: Error) => void}>} */ #waiting = new Map();
  /** @type {(item: Item) => void} */ #listener = () => {};
  #ids = 0;

  /** @param {(item: Item) => void} listener */
  subscribe(listener) {
    this.#listener = listener;
    return () => {};
  }

  /** @param {Item} item */
  say(item) {
    this.#listener(item);
  }

  newId() {
    this.#ids += 1;
    return `c${this.#ids}`;
  }

  /** @param {Wish} wish @returns {Promise<any>} */
  execute(wish) {
    const command = { ...wish, id: wish.id ?? this.newId() };
    this.sent.push(command);
    return new Promise((resolve, reject) => this.#waiting.set(command.id, { resolve, reject }));
  }

  /** @param {Command} command @param {any} reply */
  answer(command, reply) {
    this.say({ type: "answered", command, reply: /** @type {Reply} */ ({ id: command.id, ...reply }) });
    const waiting = this.#waiting.get(command.id);
    if (reply.type === "ack") waiting?.resolve(reply);
    else waiting?.reject(new RefusedError(reply));
  }

  /** @param {Command} command @param {Error} error */
  giveUp(command, error) {
    this.#waiting.get(command.id)?.reject(error);
  }

  /** @param {"messages" | "worklog"} list @param {{before?: string}} page @returns {Promise<any>} */
  history(list, { before } = {}) {
    return new Promise((answer, fail) => this.asked.push({ list, before, answer, fail }));
  }

  /** @returns {Promise<any>} */
  async join() {
    throw new Error("not here");
  }

  /** @returns {Promise<any>} */
  async leave() {
    throw new Error("not here");
  }

  reconnect() {}
}

/** Storage with room for so many characters. */
export class Storage {
  length = 0;
  /** @type {Map<string, string>} */ #values = new Map();
  #room;

  constructor(room = Infinity) {
    this.#room = room;
  }

  clear() {
    this.#values.clear();
  }

  key() {
    return null;
  }

  /** @param {string} key */
  getItem(key) {
    return this.#values.get(key) ?? null;
  }

  /** @param {string} key */
  removeItem(key) {
    this.#values.delete(key);
  }

  /** @param {string} key @param {string} value */
  setItem(key, value) {
    if (value.length > this.#room) throw new Error("QuotaExceededError");
    this.#values.set(key, value);
  }
}

/** A store in the chat as Alexandra, whose frames come when the test says `turn()`. */
export function inChat() {
  /** @type {(() => void)[]} */
  const due = [];
  const client = new FakeClient();
  client.nickname = client.wanted = "Alexandra";
  const store = new Store((run) => due.push(run), () => Date.UTC(2026, 0, 2));
  store.connect(client);
  const turn = () => {
    for (const run of due.splice(0)) run();
  };
  return { store, client, turn };
}
