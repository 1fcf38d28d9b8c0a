// The connections of one client: one at a time, over the best transport that works here and now.
//
// Theory of operation. A *link* is one connection. Transports are tried in their order, the one that worked last first;
// one counts as had only when its `welcome` is in, so a proxy that lets a connection through and nothing on it is passed
// over. A link on a lesser transport looks from time to time whether a better one can be had by now, and if so it
// *moves*: the new link is opened first, at the session's cursor; when it is welcome it takes over; the old one is kept,
// unread, until the new one has joined, and then dropped. So nobody sees the participant leave, and what comes on both
// is told once (`Session.isStale`). Who has no cursor yet does not move: the new feed would bring a snapshot of its own,
// and what happened between the two would be told by neither.
//
// When a link ends by itself, another is opened, after a wait that grows with every failure. What makes success likely
// (the network is back, the page is looked at) cuts the wait short.

/** @import {Connection, End, Frame, Platform, Status, Transport, Welcome} from "./types.js" */
/** @import {Session} from "./session.js" */
import { Watch } from "./watch.js";

/** Milliseconds until the first attempt to come back, at most; each further one doubles it. */
export const FIRST_WAIT = 250;
/** Less than the usual grace of 5 s: who waited for a server to restart is back before it is over. */
export const LONGEST_WAIT = 4000;
/** Where all transports were refused: what is wrong there is seldom over in seconds. */
const REFUSED_WAIT = 30_000;
/** The longest that a server may ask for. */
const LONGEST_ASKED = 3_600_000;
/** Until what the server could not do is sent again; doubled each time it still cannot. */
export const RETRY = 1000;
const LONGEST_RETRY = 15_000;
/** Until the next transport is tried, where there is one: a proxy may just never answer. */
export const NEXT = 4000;
/** Until `welcome` is there, where there is no other transport. */
export const GREETING = 10_000;
/** For the old link, until the new one has joined. */
const PARTING = 2000;
/** On a lesser transport, until a better one is tried again; each further attempt doubles it. */
export const FIRST_CLIMB = 15_000;
const LONGEST_CLIMB = 300_000;

const LOST = 1006;
const GOING_AWAY = 1001;

/**
 * @typedef {object} Link
 * @property {number} level The place of its transport.
 * @property {"opening" | "serving" | "over"} phase
 * @property {Connection} connection
 * @property {Watch} watch
 * @property {number} since When it began to serve.
 * @property {(end: End) => void} failed Where it ends before it served.
 */

export class Links {
  #session;
  #transports;
  #platform;
  #take;
  #tell;
  #served;
  /** Whether the server may not let the page's site in, for all we know. */ #foreign;
  /** @type {Link | undefined} */ #link;
  /** @type {Link | undefined} On its way to be the link. */ #next;
  /** @type {Set<Link>} Kept until the link has joined. */ #old = new Set();
  /** @type {Record<string, number | undefined>} */ #timers = {};
  #level = 0;
  #attempt = 0;
  #running = false;
  #climb = FIRST_CLIMB;
  #retry = RETRY;
  /** @type {Status} */
  #status = { type: "status", state: "connecting", transport: "ws", shared: false, why: "", detail: "" };
  /** What was told last; the same is not told twice. */ #told = "";

  /**
   * @param {object} options
   * @param {Session} options.session
   * @param {Transport[]} options.transports The best first.
   * @param {Platform} options.platform
   * @param {number} options.level Where to begin.
   * @param {(frame: Frame) => void} options.take Gets every frame.
   * @param {(status: Status) => void} options.tell
   * @param {(level: number) => void} options.served A transport works.
   * @param {boolean} options.foreign Whether the server is not of the page's site. A browser does not tell a page that it
   *   was refused from that nobody is there.
   */
  constructor({ session, transports, platform, level, take, tell, served, foreign }) {
    this.#foreign = foreign;
    this.#session = session;
    this.#transports = transports;
    this.#platform = platform;
    this.#level = level;
    this.#take = take;
    this.#tell = tell;
    this.#served = served;
  }

  /** The transport that is in use, or was last. */
  get transport() {
    return this.#transports[this.#level].name;
  }

  start() {
    if (this.#running) return;
    this.#running = true;
    this.#connect();
  }

  /**
   * End everything. 1000: for good; 1001: the page goes away, or sleeps, and may come back (`start`).
   * @param {number} code
   */
  stop(code) {
    const links = [this.#link, this.#next, ...this.#old];
    this.#running = false;
    this.#link = this.#next = undefined;
    this.#old.clear();
    for (const name of Object.keys(this.#timers)) this.#clear(name);
    for (const link of links) if (link) this.#close(link, code);
    this.#session.closed();
  }

  /** The session may have something to send. */
  wake() {
    const link = this.#link;
    if (!link) return;
    const commands = this.#session.transmit();
    if (commands.length) link.connection.send(commands);
    if (this.#session.postponed && this.#timers.retry === undefined) {
      this.#after("retry", this.#retry, () => {
        this.#retry = Math.min(2 * this.#retry, LONGEST_RETRY);
        this.#session.retry();
        this.wake();
      });
    }
  }

  /** Try at once: something has changed. A link that has said nothing for longer than it should is replaced. */
  hurry() {
    if (!this.#running) return;
    if (this.#timers.wait !== undefined) {
      this.#attempt = 0;
      this.#connect();
    } else if (this.#link && !this.#next && this.#session.cursor && this.#link.watch.quiet > this.#session.heartbeat * 1000) {
      this.#move([this.#link.level]);
    }
    this.refresh();
  }

  /** The network came or went. */
  refresh() {
    if (this.#status.state !== "ended") this.#say({});
  }

  // -- which transport

  #connect() {
    this.#clear("wait");
    this.#say({ state: "connecting", retryAt: undefined });
    const levels = this.#transports.map((_, level) => level);
    this.#try([this.#level, ...levels.filter((level) => level !== this.#level)], []);
  }

  /**
   * @param {number[]} order
   * @param {End[]} failures
   */
  #try([level, ...others], failures) {
    this.#dial(level, others.length ? NEXT : GREETING, (end) => {
      failures.push(end);
      if (isFinal(end)) this.#wait(end);
      else if (others.length) this.#try(others, failures);
      // What may pass is worth telling, whatever the other transports were told.
      else this.#wait(failures.find(({ why }) => why !== "refused") ?? failures[0]);
    });
  }

  /** @param {End} end */
  #wait(end) {
    const { code, why, detail, retryAfter } = end;
    if (isFinal(end)) {
      this.#say({ state: "ended", why: "ended", detail, closeCode: code });
      this.stop(code);
      return;
    }
    const longest = why === "refused" ? REFUSED_WAIT : LONGEST_WAIT;
    const ceiling = Math.min(longest, FIRST_WAIT * 2 ** Math.min(this.#attempt++, 20));
    const asked = Math.min((retryAfter ?? 0) * 1000, LONGEST_ASKED);
    // Who asks for no wait at all does not mean a loop.
    const wait = asked >= FIRST_WAIT ? asked : (ceiling * (1 + this.#platform.random())) / 2;
    this.#after("wait", wait, () => this.#connect());
    const told = why === "unreachable" && this.#foreign ? "barred" : why;
    this.#say({ state: "waiting", why: told, detail, closeCode: code, retryAt: this.#platform.now() + wait });
  }

  #climbLater() {
    const wait = (this.#climb * (1 + this.#platform.random())) / 2;
    this.#after("climb", wait, () => {
      if (!this.#session.cursor) return this.#climbLater();
      this.#climb = Math.min(2 * this.#climb, LONGEST_CLIMB);
      this.#move([...Array(this.#level).keys()]);
    });
  }

  /**
   * Have a link on one of `levels` take over.
   * @param {number[]} levels
   */
  #move([level, ...others]) {
    if (level === undefined) {
      if (this.#level) this.#climbLater();
    } else if (!this.#next) {
      this.#dial(level, NEXT, () => this.#move(others));
    }
  }

  // -- one link

  /**
   * @param {number} level
   * @param {number} patience
   * @param {(end: End) => void} failed
   */
  #dial(level, patience, failed) {
    const link = /** @type {Link} */ ({ level, phase: "opening", failed, since: 0 });
    link.watch = new Watch(this.#platform, () => {
      const opening = link.phase === "opening";
      const detail = opening
        ? "the server does not say welcome: it is away, or something in between holds it back"
        : "the server is silent";
      this.#close(link, GOING_AWAY);
      this.#ended(link, { code: LOST, why: opening ? "unreachable" : "silent", detail });
    });
    this.#next = link;
    link.watch.arm(patience);
    link.connection = this.#transports[level].connect(this.#session.cursor, {
      frame: (frame) => this.#heard(link, frame),
      end: (end) => this.#ended(link, end),
    });
  }

  /**
   * @param {Link} link
   * @param {Frame} frame
   */
  #heard(link, frame) {
    if (frame.type === "welcome" && (link === this.#next || link === this.#link)) {
      this.#serve(link, frame);
    } else if (link === this.#link) {
      link.watch.heard();
      this.#handOn(frame);
    } else if (link === this.#next) {
      const detail = "what answers there is no cloudchat server";
      this.#close(link, GOING_AWAY);
      if (frame.type !== "closing") this.#ended(link, { code: LOST, why: "refused", detail });
      else this.#ended(link, { ...RESTART, retryAfter: frame.retry_after });
    }
  }

  /**
   * A feed begins: it is that of the link from now on, and nothing was said on it yet.
   * @param {Link} link
   * @param {Welcome} welcome
   */
  #serve(link, welcome) {
    const before = this.#link;
    if (before && before !== link) this.#old.add(before);
    if (link === this.#next) {
      this.#next = undefined;
      link.since = this.#platform.now();
    }
    this.#link = link;
    this.#session.closed();
    this.#session.opened();
    if (link.level !== this.#level || !before) this.#climb = FIRST_CLIMB;
    this.#level = link.level;
    link.phase = "serving";
    if (link.level) this.#climbLater();
    else this.#clear("climb");
    this.#clear("retry");
    if (this.#old.size) this.#after("part", PARTING, () => this.#part());
    link.watch.arm(2000 * welcome.heartbeat);
    this.#foreign = false; // it has let us in
    this.#served(link.level);
    this.#say({ state: "open", why: "", detail: "", closeCode: undefined, retryAt: undefined });
    this.#handOn(welcome);
  }

  /** @param {Frame} frame */
  #handOn(frame) {
    if (frame.type === "ack") this.#retry = RETRY;
    this.#take(frame);
    // Whoever was told may have stopped all this.
    if (this.#session.joined || !this.#session.wanted) this.#part();
    this.wake();
  }

  #part() {
    this.#clear("part");
    for (const link of this.#old) this.#close(link, GOING_AWAY);
    this.#old.clear();
  }

  /**
   * @param {Link} link
   * @param {number} code
   */
  #close(link, code) {
    link.phase = "over";
    link.watch.stop();
    link.connection.close(code);
  }

  /**
   * @param {Link} link
   * @param {End} end
   */
  #ended(link, end) {
    link.phase = "over";
    link.watch.stop();
    this.#old.delete(link);
    if (link === this.#next) {
      this.#next = undefined;
      link.failed(end);
    } else if (link === this.#link) {
      this.#link = undefined;
      this.#clear("climb");
      this.#clear("retry");
      this.#part();
      if (this.#next) {
        // On its way to take over; what comes now is an attempt like any other, in order.
        const next = this.#next;
        this.#next = undefined;
        this.#close(next, GOING_AWAY);
      }
      this.#session.closed();
      // A link that held for a while starts the count afresh.
      if (this.#platform.now() - link.since > RETRY) this.#attempt = 0;
      this.#wait({ ...end, retryAfter: end.retryAfter ?? this.#session.retryAfter });
    }
  }

  // -- what is told, and when

  /** @param {Partial<Status>} news */
  #say(news) {
    const shared = this.#link?.connection.shared ?? false;
    this.#status = { ...this.#status, ...news, transport: this.transport, shared };
    const told = { ...this.#status };
    if (told.state !== "ended" && !this.#platform.online()) told.state = "offline";
    const text = JSON.stringify(told);
    if (text === this.#told) return;
    this.#told = text;
    this.#tell(told);
  }

  /**
   * @param {string} name
   * @param {number} ms
   * @param {() => void} action
   */
  #after(name, ms, action) {
    this.#clear(name);
    this.#timers[name] = this.#platform.setTimeout(() => {
      this.#timers[name] = undefined;
      action();
    }, ms);
  }

  /** @param {string} name */
  #clear(name) {
    const timer = this.#timers[name];
    this.#timers[name] = undefined;
    if (timer !== undefined) this.#platform.clearTimeout(timer);
  }
}

/**
 * Whether the server says: do not come back.
 * @param {End} end
 */
const isFinal = ({ code }) => code >= 4500 && code <= 4999;

/** @type {End} */
const RESTART = { code: 1012, why: "restart", detail: "the server restarts" };
