import assert from "node:assert/strict";
import { test } from "node:test";
import { Links, FIRST_WAIT, GREETING, LONGEST_WAIT, NEXT } from "../../app/cloudchat/links.js";
import { Session } from "../../app/cloudchat/session.js";
import { Clock, settle } from "./clock.js";

const LIMITS = { text: 4096, nickname: 32, frame: 65536, unanswered: 100 };
const WELCOME = { type: "welcome", protocol: "cloudchat.v1", feed: "f", cursor: "e1-0", at: "", heartbeat: 15, limits: LIMITS };

/** @typedef {{name: string, after: string, handlers: any, sent: any[], closed: number | undefined, shared: boolean}} Line */

/** Connections that do what the test says. */
function make(names = ["ws", "sse", "poll"], level = 0, foreign = false) {
  const clock = new Clock();
  /** @type {Line[]} */
  const lines = [];
  /** @type {any[]} */
  const told = [];
  /** @type {any[]} */
  const frames = [];
  const page = { online: true };
  let next = 0;
  const session = new Session({ newId: () => `j${++next}`, token: "t".repeat(43) });
  const transports = names.map((name) => ({
    name: /** @type {any} */ (name),
    connect(/** @type {string} */ after, /** @type {any} */ handlers) {
      /** @type {Line} */
      const line = { name, after, handlers, sent: [], closed: undefined, shared: false };
      lines.push(line);
      return {
        get shared() {
          return line.shared;
        },
        send: (/** @type {any[]} */ commands) => void line.sent.push(...commands),
        close: (/** @type {number} */ code) => void (line.closed = code),
      };
    },
  }));
  const platform = /** @type {any} */ ({
    setTimeout: clock.setTimeout.bind(clock),
    clearTimeout: clock.clearTimeout.bind(clock),
    now: () => clock.now,
    random: () => 1,
    online: () => page.online,
  });
  const links = new Links({
    session, transports, platform, level,
    take: (frame) => {
      frames.push(frame);
      if (!session.isStale(frame)) session.receive(frame);
    },
    tell: (status) => void told.push(status),
    served: () => {},
    foreign,
  });
  const welcome = (line = lines[lines.length - 1]) => line.handlers.frame(WELCOME);
  const snapshot = (line = lines[lines.length - 1]) => line.handlers.frame({ type: "snapshot", cursor: "e1-0" });
  const end = (line = lines[lines.length - 1], more = {}) => line.handlers.end({ code: 1006, why: "lost", detail: "", ...more });
  return { clock, lines, told, frames, page, session, links, welcome, snapshot, end, state: () => told.at(-1).state };
}

test("the first attempt is made at once, and is open when its welcome is in", () => {
  const { links, lines, welcome, told, session } = make();
  session.join("Ann");
  links.start();
  assert.deepEqual(lines.map(({ name, after }) => [name, after]), [["ws", ""]]);
  assert.equal(told.at(-1).state, "connecting");
  welcome();
  assert.equal(told.at(-1).state, "open");
  assert.deepEqual(lines[0].sent.map(({ type }) => type), ["join"]);
});

test("where a transport fails, the next one is tried at once; where it says nothing, after a while", async () => {
  const { clock, links, lines, end, welcome } = make();
  links.start();
  end();
  assert.deepEqual(lines.map(({ name }) => name), ["ws", "sse"]);
  await clock.advance(NEXT - 1);
  assert.equal(lines.length, 2);
  await clock.advance(1);
  assert.deepEqual(lines.map(({ name }) => name), ["ws", "sse", "poll"]);
  assert.equal(lines[1].closed, 1001, "what says nothing is given up");
  welcome(lines[1]);
  assert.equal(links.transport, "ws", "and is not heard any more");
  await clock.advance(GREETING - 1);
  assert.equal(lines.length, 3, "the last one is given more time");
});

test("it begins with the transport that worked last", () => {
  const { links, lines, end } = make(undefined, 1);
  links.start();
  end();
  end();
  assert.deepEqual(lines.map(({ name }) => name), ["sse", "ws", "poll"]);
});

test("attempts to come back are ever further apart, up to a bound", async () => {
  const { clock, links, lines, end, told } = make(["ws"]);
  links.start();
  const waits = [];
  for (let i = 0; i < 7; i++) {
    end(undefined, { why: "unreachable" });
    assert.equal(told.at(-1).state, "waiting");
    const wait = told.at(-1).retryAt - clock.now;
    waits.push(wait);
    await clock.advance(wait - 1);
    assert.equal(lines.length, i + 1);
    await clock.advance(1);
    assert.equal(lines.length, i + 2);
  }
  assert.deepEqual(waits, [FIRST_WAIT, 500, 1000, 2000, LONGEST_WAIT, LONGEST_WAIT, LONGEST_WAIT]);
});

test("a connection that held begins the count anew; one that did not, does not", async () => {
  const { clock, links, welcome, end, told } = make(["ws"]);
  links.start();
  for (const [held, wait] of [[0, 250], [10, 500], [5000, 250]]) {
    welcome();
    await clock.advance(held);
    end();
    assert.equal(told.at(-1).retryAt - clock.now, wait);
    await clock.advance(wait);
  }
});

test("who is asked to come back later does, and no wait at all is not taken literally", async () => {
  const { clock, links, lines, welcome, end, told } = make(["ws"]);
  links.start();
  welcome();
  lines[0].handlers.frame({ type: "closing", retry_after: 2.7 });
  end(lines[0], { code: 1012, why: "restart" });
  assert.equal(told.at(-1).retryAt - clock.now, 2700);
  assert.equal(told.at(-1).why, "restart");
  await clock.advance(2700);
  end(lines[1], { retryAfter: 0 });
  assert.ok(told.at(-1).retryAt > clock.now);
  await clock.advance(10_000);
  lines[2].handlers.frame({ type: "closing", retry_after: 3 });
  assert.equal(told.at(-1).retryAt - clock.now, 3000, "it may say so instead of a welcome");
});

test("no wait that a server asks for makes a loop, nor lasts for ever", () => {
  for (const asked of [-5, 0.001, NaN, 1e9, Infinity, /** @type {any} */ ("soon")]) {
    const { clock, links, lines, welcome, end, told } = make(["ws"]);
    links.start();
    welcome();
    lines[0].handlers.frame({ type: "closing", retry_after: asked });
    end(lines[0], { code: 1012, why: "restart" });
    const wait = told.at(-1).retryAt - clock.now;
    assert.ok(wait >= FIRST_WAIT && wait <= 3_600_000, `${asked}: ${wait}`);
  }
});

test("what makes success likely cuts the wait short", async () => {
  const { clock, links, lines, end } = make(["ws"]);
  links.start();
  end(undefined, { retryAfter: 60 });
  links.hurry();
  assert.equal(lines.length, 2);
  links.hurry();
  assert.equal(lines.length, 2, "one attempt at a time");
  end();
  await clock.advance(FIRST_WAIT);
  assert.equal(lines.length, 3);
});

test("without a network it is offline, and what is open stays open", () => {
  const { links, lines, welcome, told, page, end } = make(["ws"]);
  links.start();
  welcome();
  page.online = false;
  links.refresh();
  assert.deepEqual([told.at(-1).state, lines[0].closed], ["offline", undefined]);
  page.online = true;
  links.hurry();
  assert.equal(told.at(-1).state, "open");
  page.online = false;
  end();
  assert.equal(told.at(-1).state, "offline");
});

test("a server that is silent for two heartbeats is lost", async () => {
  const { clock, links, lines, welcome, told } = make(["ws"]);
  links.start();
  welcome();
  await clock.advance(29_000);
  lines[0].handlers.frame({ type: "heartbeat", cursor: "e1-0", at: "" });
  await clock.advance(29_000);
  assert.equal(told.at(-1).state, "open");
  await clock.advance(1001);
  assert.deepEqual([told.at(-1).state, told.at(-1).why, lines[0].closed], ["waiting", "silent", 1001]);
});

test("a link that has been quiet for a heartbeat is replaced when the page is looked at", async () => {
  const { clock, links, lines, welcome, snapshot } = make(["ws"]);
  links.start();
  welcome();
  snapshot();
  await clock.advance(14_000);
  links.hurry();
  assert.equal(lines.length, 1);
  await clock.advance(2000);
  links.hurry();
  assert.equal(lines.length, 2);
  assert.equal(lines[0].closed, undefined, "not before the new one is there");
  welcome();
  assert.equal(lines[0].closed, 1001);
});

test("a lesser transport makes room for a better one, without a moment in between", async () => {
  const { clock, links, lines, session, welcome, end, told, frames } = make();
  session.join("Ann");
  links.start();
  end();
  welcome();
  lines[1].handlers.frame({ type: "ack", id: lines[1].sent[0].id, cursor: "e1-1", nickname: "Ann", resumed: false });
  lines[1].handlers.frame({ type: "message", cursor: "e1-5", at: "", nickname: "x", text: "" });
  await clock.advance(15_000);
  assert.deepEqual([lines[2].name, lines[2].after], ["ws", "e1-5"]);
  end(lines[2]);
  lines[1].handlers.frame({ type: "heartbeat", cursor: "e1-5", at: "" });
  await clock.advance(29_000);
  assert.equal(lines.length, 3);
  lines[1].handlers.frame({ type: "message", cursor: "e1-6", at: "", nickname: "x", text: "" });
  await clock.advance(1000);
  assert.equal(lines[3].name, "ws", "each attempt takes twice the wait");
  welcome();
  assert.deepEqual([told.at(-1).state, told.at(-1).transport], ["open", "ws"]);
  assert.ok(!told.some(({ state }) => state === "waiting"));
  assert.equal(lines[1].closed, undefined, "the old one is kept until the new one has joined");
  const before = frames.length;
  lines[1].handlers.frame({ type: "message", cursor: "e1-7", at: "", nickname: "x", text: "" });
  assert.equal(frames.length, before, "unread");
  lines[3].handlers.frame({ type: "ack", id: lines[3].sent[0].id, cursor: "e1-1", nickname: "Ann", resumed: true });
  assert.equal(lines[1].closed, 1001);
});

test("who has no cursor yet does not move: two snapshots would hide what happened between them", async () => {
  const { clock, links, lines, welcome, end } = make(["ws", "sse"]);
  links.start();
  end();
  welcome();
  await clock.advance(15_000);
  links.hurry();
  assert.deepEqual(lines.map(({ name }) => name), ["ws", "sse"]);
  lines[1].handlers.frame({ type: "snapshot", cursor: "e1-5", more: true });
  await clock.advance(15_500);
  links.hurry();
  assert.equal(lines.length, 2, "nor with a part of a snapshot");
  lines[1].handlers.frame({ type: "snapshot", cursor: "e1-5" });
  await clock.advance(15_000);
  assert.deepEqual(lines.slice(2).map(({ name, after }) => [name, after]), [["ws", "e1-5"]]);
});

test("a server that ends it for good before its welcome is not asked over another transport", () => {
  const { links, lines, end, told } = make();
  links.start();
  end(lines[0], { code: 4501 });
  assert.deepEqual([lines.length, told.at(-1).state], [1, "ended"]);
});

test("a move is given up where the link is lost meanwhile: one attempt at a time", async () => {
  const { clock, links, lines, welcome, snapshot, end } = make();
  links.start();
  end();
  welcome();
  snapshot();
  await clock.advance(15_000);
  end(lines[1]);
  assert.equal(lines[2].closed, 1001);
  welcome(lines[2]);
  assert.equal(links.transport, "sse");
  await clock.advance(FIRST_WAIT);
  assert.deepEqual(lines.slice(3).map(({ name }) => name), ["sse"]);
});

test("close codes from 4500 on are the end", async () => {
  const { clock, links, lines, welcome, end, told } = make();
  links.start();
  welcome();
  end(lines[0], { code: 4501 });
  assert.deepEqual([told.at(-1).state, told.at(-1).closeCode], ["ended", 4501]);
  links.hurry();
  await clock.advance(100_000);
  assert.deepEqual([lines.length, clock.pending], [1, 0]);
});

test("a second welcome on a connection is a new feed: all is said again", () => {
  const { links, lines, session, welcome } = make(["sse"]);
  session.join("Ann");
  links.start();
  welcome();
  lines[0].handlers.frame({ type: "ack", id: lines[0].sent[0].id, cursor: "e1-1", nickname: "Ann", resumed: false });
  welcome();
  assert.deepEqual(lines[0].sent.map(({ type }) => type), ["join", "join"]);
  assert.equal(session.joined, false);
});

test("what the server could not do is sent again after a moment", async () => {
  const { clock, links, lines, session, welcome } = make(["ws"]);
  session.join("Ann");
  links.start();
  welcome();
  for (let i = 0; i < 3; i++) {
    const { id } = lines[0].sent.at(-1);
    lines[0].handlers.frame({ type: "error", id, code: "unavailable", detail: "" });
    lines[0].handlers.frame({ type: "heartbeat", cursor: "e1-1", at: "" });
    await clock.advance(1000 * 2 ** i - 1);
    assert.equal(lines[0].sent.length, i + 1);
    await clock.advance(1);
    assert.equal(lines[0].sent.length, i + 2);
  }
});

test("stopped, it leaves nothing behind", async () => {
  const { clock, links, lines, welcome, snapshot, end } = make();
  links.start();
  end();
  welcome();
  snapshot();
  await clock.advance(15_000);
  links.stop(1000);
  assert.deepEqual([lines[1].closed, lines[2].closed, clock.pending], [1000, 1000, 0]);
  await settle();
});

test("a server of another site that never let the page in may bar it; one that did is away", async () => {
  const { clock, links, end, told, welcome } = make(["ws"], 0, true);
  links.start();
  for (const why of ["barred", "unreachable"]) {
    end(undefined, { why: "unreachable" });
    assert.equal(told.at(-1).why, why);
    await clock.advance(FIRST_WAIT);
    welcome();
    await clock.advance(2000);
  }
});
