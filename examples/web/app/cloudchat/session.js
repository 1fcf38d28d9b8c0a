// One client's side of the protocol, the same for every transport, without any I/O.
//
// Theory of operation. A client is a cursor, a token and the commands that are unanswered; all three outlive every
// connection. Whoever holds the connection reports `opened` and `closed`, hands in every frame (`receive`), and sends
// what `transmit` returns.
//
// On each connection the `join` goes first, and everything else waits for its answer. `resumed: true` means that the
// server remembers the ids of what was sent: all that is unanswered is sent again, in order, before anything new, and
// happens no second time. `resumed: false` means that it does not: what was sent is *uncertain*, and given up instead
// of being done twice. A `join` gets a new id on each connection: a remembered answer to an old one would not bring
// back a participant who has left meanwhile.
//
// Who finds that it was held lost joins again, and says then what was `not_joined`; but not while it is about to leave.
// A `leave` that happened before a connection broke is undone by the next `join`: it goes out again, under another id.
//
// Who has left, or was refused its nickname, is not sent for: what was never said is refused at once (`not_joined`), and
// what may have happened is uncertain where its connection is gone and the next one begins without a join.
//
// What the server could not do for the moment is sent again later, and what came after it waits: order is kept.

/** @import {Answered, Command, Cursor, Frame, Join, LeftEvent, Limits, Reply, Uncertain} from "./types.js" */
import { hasReached, movesTo } from "./cursors.js";
import { RefusedError, ownRefusal } from "./errors.js";

/** @typedef {{command: Command, sent: boolean}} Entry `sent`: the server may know of it. */
/** @typedef {{type: "entered", join: Join, reply: Reply}} Entered */
/** @typedef {Answered | Uncertain | Entered} Outcome */

/** Commands that may wait at all. */
export const WAITING = 1000;
/** Times that a command is answered by `internal` until it is given up: a bug does not pass. */
const PATIENCE = 5;

// Whether the command happened is not known; the same id is sent again.
const UNKNOWN = new Set(["unavailable", "internal"]);
// The answers that a join survives: they say nothing about the nickname.
const PASSING = new Set(["unavailable", "internal", "rate_limited"]);

const encoder = new TextEncoder();

export class Session {
  /** @type {Map<string, Entry>} */ #unanswered = new Map();
  /** Sent on this connection. */ #sent = /** @type {Set<string>} */ (new Set());
  /** To be sent again. */ #later = /** @type {Set<string>} */ (new Set());
  /** Of those sent, what may have happened before. */ #again = /** @type {Set<string>} */ (new Set());
  /** @type {Map<string, number>} */ #failures = new Map();
  /** @type {Join | undefined} */ #join;
  /** What an earlier page left behind. */ #restored = /** @type {Set<string>} */ (new Set());
  #newId;
  #changed;
  #token;
  #open = false;
  /** The id of the last join that was acknowledged. */ #joinId = "";
  /** Where the log stood then. */ #joinedAt = "";

  /**
   * @param {object} options
   * @param {() => string} options.newId
   * @param {string} options.token
   * @param {Cursor} [options.cursor]
   * @param {string} [options.wanted] The nickname that an earlier page held.
   * @param {Entry[]} [options.unanswered] What an earlier page sent, or wanted to.
   * @param {(leaving: boolean) => void} [options.changed] Called when `wanted` or `entries` are others than before;
   *   with true where something leaves next that they have to outlive.
   */
  constructor({ newId, token, cursor = "", wanted = "", unanswered = [], changed = () => {} }) {
    this.cursor = cursor;
    this.nickname = "";
    this.joined = false;
    /** Whether the server may know the token. */
    this.introduced = wanted !== "" || unanswered.length > 0;
    this.heartbeat = 0;
    /** @type {number | undefined} */ this.retryAfter = undefined;
    /** @type {Limits} */
    this.limits = { text: 4096, nickname: 32, frame: 65536, unanswered: 100 };
    this.#newId = newId;
    this.#token = token;
    this.#changed = changed;
    for (const entry of unanswered) {
      this.#unanswered.set(entry.command.id, entry);
      this.#restored.add(entry.command.id);
    }
    if (wanted) {
      this.#prepare(wanted);
      this.#restored.add(this.#pending.id);
    }
  }

  get token() {
    return this.#token;
  }

  /** The nickname that is held, or asked for. */
  get wanted() {
    return this.#join?.nickname ?? this.nickname;
  }

  /** The ids of the joins that may be what the server knows of us: that one, and one on its way. */
  get joins() {
    return [this.#joinId, this.#join?.id ?? ""].filter(Boolean);
  }

  /** @returns {Entry[]} In order, the join left out. */
  get entries() {
    return [...this.#unanswered.values()];
  }

  /** Whether something waits for `retry`. */
  get postponed() {
    return this.#later.size > 0;
  }

  /**
   * Whether a frame says what is known: feeds overlap while a client moves from one to another.
   * @param {Frame} frame
   */
  isStale(frame) {
    const cursor = frame.type === "snapshot" ? undefined : movesTo(frame);
    return cursor !== undefined && hasReached(this.cursor, cursor);
  }

  /** A connection is open, and nothing was said on it yet. */
  opened() {
    this.#open = true;
    this.retryAfter = undefined;
    this.#sent.clear();
    this.#later.clear();
    if (this.wanted) this.#prepare(this.wanted);
  }

  /** The connection has ended, in whatever way. */
  closed() {
    this.#open = this.joined = false;
  }

  /**
   * Take part as `nickname`, on this connection and on those after it.
   * @param {string} nickname
   */
  join(nickname) {
    this.#prepare(nickname);
    this.#changed(false);
  }

  /**
   * Have `command` sent, again and again until it is answered.
   * @param {Command} command
   * @throws {RefusedError}
   */
  submit(command) {
    const size = encoder.encode(JSON.stringify(command)).length;
    const { frame } = this.limits;
    if (!this.wanted) throw refused("not_joined", "join first");
    if (this.#unanswered.has(command.id)) throw refused("id_reused", "this id is unanswered");
    if (size > frame) throw refused("too_large", `a command has up to ${frame} bytes`);
    if (this.#unanswered.size >= WAITING) throw refused("client_full", "too much is unanswered");
    this.#unanswered.set(command.id, { command, sent: false });
    this.#changed(false);
  }

  /** Have what was postponed sent again; to be called a moment after `postponed` has become true. */
  retry() {
    for (const id of this.#later) this.#sent.delete(id);
    this.#later.clear();
  }

  /** @returns {(Command | Join)[]} What to send now, in order; each is returned once a connection. */
  transmit() {
    if (!this.#open) return [];
    /** @type {(Command | Join)[]} */
    const out = [];
    if (this.#join && !this.#sent.has(this.#join.id)) {
      this.#sent.add(this.#join.id);
      out.push(this.#join);
    }
    if (this.joined && !this.postponed) {
      let room = this.limits.unanswered;
      for (const [id, entry] of this.#unanswered) {
        if (room-- <= 0) break;
        if (this.#sent.has(id)) continue;
        this.#sent.add(id);
        if (entry.sent) this.#again.add(id);
        entry.sent = true;
        out.push({ ...entry.command, id });
      }
    }
    if (out.length) this.#changed(true);
    return out;
  }

  /**
   * Take a frame that is not stale.
   * @param {Frame} frame
   * @returns {Outcome[]} What it settles.
   */
  receive(frame) {
    this.cursor = movesTo(frame) ?? this.cursor;
    switch (frame.type) {
      case "ack":
      case "error":
        return this.#answer(frame);
      case "welcome":
        this.heartbeat = frame.heartbeat;
        this.limits = { ...this.limits, ...frame.limits };
        return this.#giveUp((id) => this.#isUnderWay(id));
      case "closing":
        this.retryAfter = frame.retry_after;
        break;
      case "left":
        this.#left(frame);
    }
    return [];
  }

  /**
   * Join again where the server has held us lost though the connection goes on: a poll's answer that was long on its
   * way, say. What is told of the time before our join is over.
   * @param {LeftEvent} event
   */
  #left(event) {
    const ours = event.nickname === this.nickname && event.reason === "disconnected";
    if (ours && this.joined && !this.#leaves && !hasReached(this.#joinedAt, event.cursor)) this.#joinAgain();
  }

  #joinAgain() {
    this.joined = false;
    if (!this.#join) this.#prepare(this.nickname);
  }

  /** Whether it is about to leave: who is found to be out then has what it wanted. */
  get #leaves() {
    return this.entries.some(({ command }) => command.type === "leave");
  }

  /**
   * Begin anew with another token: what an earlier page left behind is somebody else's.
   * @param {string} token
   * @returns {boolean} Whether a nickname went with it.
   */
  disown(token) {
    this.#token = token;
    this.introduced = false;
    for (const id of this.#restored) this.#unanswered.delete(id);
    const lost = this.#join !== undefined && this.#restored.has(this.#join.id);
    if (lost) this.#join = undefined;
    else if (this.#join) this.#prepare(this.#join.nickname);
    this.#changed(false);
    return lost;
  }

  /** Want nothing any more. */
  end() {
    this.closed();
    this.#join = undefined;
    this.nickname = "";
    this.#unanswered.clear();
    this.#changed(false);
  }

  get #pending() {
    return /** @type {Join} */ (this.#join);
  }

  /** @param {string} nickname */
  #prepare(nickname) {
    this.#join = { type: "join", id: this.#newId(), nickname, token: this.#token };
  }

  /**
   * @param {Reply} reply
   * @returns {Outcome[]}
   */
  #answer(reply) {
    const id = reply.id ?? "";
    if (this.#join && id === this.#join.id) return this.#enter(this.#join, reply);
    const entry = this.#unanswered.get(id);
    if (!entry) return [];
    const { command } = entry;
    const code = reply.type === "error" ? reply.code : "";
    // Rates are looked at before what is remembered: said again, it may have happened, and still be too much.
    if (UNKNOWN.has(code) || (code === "rate_limited" && this.#again.has(id))) {
      const failures = (this.#failures.get(id) ?? 0) + 1;
      this.#failures.set(id, failures);
      if (code !== "internal" || failures < PATIENCE) {
        this.#later.add(id);
        return this.#giveUp((id) => this.#isUnderWay(id));
      }
      this.#forget(id);
      return [{ type: "uncertain", command }];
    }
    const out = code === "not_joined";
    if (out && this.nickname && !this.#leaves) {
      // Held lost without having noticed: it certainly did not happen.
      entry.sent = false;
      this.#again.delete(id);
      this.#sent.delete(id);
      this.#joinAgain();
      return [];
    }
    this.#forget(id);
    // Who is not in has left as well.
    if (command.type === "leave" && (reply.type === "ack" || out)) {
      if (reply.type === "ack" && this.joined && !this.#join && hasReached(this.#joinedAt, reply.cursor)) {
        // It happened before our last join, which undid it: leave once more, under another id.
        this.#unanswered.set(this.#newId(), { command, sent: false });
        return [];
      }
      this.joined = false;
      this.nickname = "";
      this.#changed(false);
      return [{ type: "answered", command, reply }, ...this.#giveUp((id) => this.#isUnderWay(id))];
    }
    return [{ type: "answered", command, reply }];
  }

  /**
   * @param {Join} join
   * @param {Reply} reply
   * @returns {Outcome[]}
   */
  #enter(join, reply) {
    if (reply.type === "error") {
      if (PASSING.has(reply.code)) {
        this.#later.add(join.id);
        return [];
      }
      this.#join = undefined;
      if (!this.joined) {
        // Another name was asked for when the connection broke: the one held so far may still be ours.
        const before = this.nickname;
        this.nickname = "";
        if (before && before !== join.nickname) this.#prepare(before);
      }
      this.#changed(false);
      // Another nickname may be asked for, and what may have happened be said again then.
      return [{ type: "entered", join, reply }, ...this.#giveUp((_, { sent }) => sent)];
    }
    this.#join = undefined;
    this.joined = this.introduced = true;
    this.#joinId = join.id;
    this.#joinedAt = reply.cursor;
    this.nickname = reply.nickname ?? join.nickname;
    /** @type {Outcome[]} */
    const outcomes = [{ type: "entered", join, reply }];
    if (reply.resumed === false) {
      for (const [id, { command, sent }] of this.#unanswered) {
        if (!sent) continue;
        this.#forget(id);
        outcomes.push({ type: "uncertain", command });
      }
    }
    this.#changed(false);
    return outcomes;
  }

  /**
   * Whether it was said on this connection and has an answer to come.
   * @param {string} id
   */
  #isUnderWay(id) {
    return this.#sent.has(id) && !this.#later.has(id);
  }

  /**
   * Settle what will not be sent any more, since no nickname is held or asked for.
   * @param {(id: string, entry: Entry) => boolean} isKept
   * @returns {Outcome[]}
   */
  #giveUp(isKept) {
    /** @type {Outcome[]} */
    const outcomes = [];
    if (this.wanted) return outcomes;
    for (const [id, entry] of this.#unanswered) {
      if (isKept(id, entry)) continue;
      const { command, sent } = entry;
      this.#forget(id);
      const reply = ownRefusal("not_joined", "this client does not take part any more");
      outcomes.push(sent ? { type: "uncertain", command } : { type: "answered", command, reply });
    }
    return outcomes;
  }

  /** @param {string} id */
  #forget(id) {
    this.#unanswered.delete(id);
    this.#sent.delete(id);
    this.#again.delete(id);
    this.#later.delete(id);
    this.#failures.delete(id);
    this.#restored.delete(id);
    this.#changed(false);
  }
}

/**
 * @param {string} code
 * @param {string} detail
 */
const refused = (code, detail) => new RefusedError(ownRefusal(code, detail));
