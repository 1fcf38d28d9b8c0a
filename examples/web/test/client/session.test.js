import assert from "node:assert/strict";
import { test } from "node:test";
import { RefusedError } from "../../app/cloudchat/cloudchat.js";
import { Session, WAITING } from "../../app/cloudchat/session.js";

/** @param {object} [options] */
function make(options = {}) {
  let next = 0;
  return new Session({ newId: () => `j${++next}`, token: "t".repeat(43), ...options });
}

/** @param {string} id */
const ack = (id, more = {}) => /** @type {any} */ ({ type: "ack", id, cursor: "e1-1", ...more });
/** @param {string} id @param {string} code */
const no = (id, code) => /** @type {any} */ ({ type: "error", id, code, detail: code });
/** @param {string} id */
const say = (id) => /** @type {const} */ ({ type: "say", id, text: id });
/** @param {Session} session */
const sent = (session) => session.transmit().map(({ id }) => id);

/** @param {Session} session */
function joined(session, resumed = false) {
  if (!session.wanted) session.join("Ann");
  session.opened();
  const [join] = session.transmit();
  return session.receive(ack(join.id, { nickname: "Ann", resumed }));
}

test("a join goes first on each connection, with an id of its own, and all else waits for its answer", () => {
  const session = make();
  session.join("Ann");
  session.submit(say("a"));
  assert.deepEqual(session.transmit(), [], "nothing is said where nothing is open");
  session.opened();
  const [first, ...rest] = session.transmit();
  assert.deepEqual([first.type, rest], ["join", []]);
  session.receive(ack(first.id, { nickname: "Ann" }));
  assert.deepEqual(sent(session), ["a"]);
  session.closed();
  session.opened();
  const [second] = session.transmit();
  assert.equal(second.type, "join");
  assert.notEqual(second.id, first.id);
});

test("what is unanswered is sent again in order, before anything new, once a connection", () => {
  const session = make();
  joined(session);
  for (const id of ["a", "b"]) session.submit(say(id));
  assert.deepEqual(sent(session), ["a", "b"]);
  assert.deepEqual(sent(session), []);
  session.receive(ack("a"));
  session.closed();
  session.submit(say("c"));
  joined(session, true);
  assert.deepEqual(sent(session), ["b", "c"]);
});

test("a server that has forgotten the token makes uncertain what was sent, and nothing else", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.transmit();
  session.closed();
  session.submit(say("b"));
  const outcomes = joined(session, false);
  assert.deepEqual(outcomes.map((one) => [one.type, "command" in one && one.command.id]), [["entered", false], ["uncertain", "a"]]);
  assert.deepEqual(sent(session), ["b"]);
});

test("what the server could not do is sent again before what came later", () => {
  for (const code of ["unavailable", "internal"]) {
    const session = make();
    joined(session);
    session.submit(say("a"));
    session.transmit();
    assert.deepEqual(session.receive(no("a", code)), []);
    session.submit(say("b"));
    assert.deepEqual([session.postponed, sent(session)], [true, []]);
    session.retry();
    assert.deepEqual(sent(session), ["a", "b"]);
  }
});

test("a command that the server fails at again and again becomes uncertain, so that others get their turn", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.submit(say("b"));
  /** @type {any[]} */
  let outcomes = [];
  for (let attempt = 0; !outcomes.length && attempt < 100; attempt++) {
    session.transmit();
    outcomes = session.receive(no("a", "internal"));
    session.retry();
  }
  assert.deepEqual(outcomes, [{ type: "uncertain", command: say("a") }]);
  assert.equal(session.postponed, false);
});

test("a refusal is an answer", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.transmit();
  assert.deepEqual(session.receive(no("a", "text_invalid")), [{ type: "answered", command: say("a"), reply: no("a", "text_invalid") }]);
  assert.deepEqual(session.entries, []);
});

test("no more are under way than the server takes, and the others follow as answers come", () => {
  const session = make();
  session.limits = { ...session.limits, unanswered: 2 };
  joined(session);
  for (const id of ["a", "b", "c"]) session.submit(say(id));
  assert.deepEqual(sent(session), ["a", "b"]);
  session.receive(ack("a"));
  assert.deepEqual(sent(session), ["c"]);
});

test("what cannot be sent is refused at once", () => {
  const session = make();
  const code = (/** @type {() => void} */ act) => {
    try {
      act();
    } catch (error) {
      assert(error instanceof RefusedError);
      return error.code;
    }
    return "";
  };
  assert.equal(code(() => session.submit(say("a"))), "not_joined");
  session.join("Ann");
  session.submit(say("a"));
  assert.equal(code(() => session.submit(say("a"))), "id_reused");
  assert.equal(code(() => session.submit({ ...say("b"), text: "ж".repeat(40_000) })), "too_large");
  for (let i = 1; i < WAITING; i++) session.submit(say(`x${i}`));
  assert.equal(code(() => session.submit(say("c"))), "client_full");
});

test("a refused nickname is not asked for again; the one held before is", () => {
  const session = make();
  session.join("Ann");
  session.opened();
  const [join] = session.transmit();
  const [outcome] = session.receive(no(join.id, "nickname_taken"));
  assert.equal(outcome.type, "entered");
  assert.equal(session.wanted, "");

  joined(session);
  session.join("Eve");
  session.closed();
  session.opened();
  const [again] = session.transmit();
  session.receive(no(again.id, "nickname_taken"));
  const [back] = session.transmit();
  assert.equal(back.type === "join" && back.nickname, "Ann");
});

test("a refused change of nickname leaves the one that is held", () => {
  const session = make();
  joined(session);
  session.join("Eve");
  const [join] = session.transmit();
  session.receive(no(join.id, "nickname_taken"));
  assert.deepEqual([session.joined, session.nickname, session.wanted], [true, "Ann", "Ann"]);
});

test("an answer that says nothing about the nickname is not the end of a join", () => {
  for (const code of ["unavailable", "internal", "rate_limited"]) {
    const session = make();
    session.join("Ann");
    session.opened();
    const [join] = session.transmit();
    assert.deepEqual(session.receive(no(join.id, code)), []);
    assert.deepEqual(sent(session), []);
    session.retry();
    assert.deepEqual(sent(session), [join.id]);
  }
});

test("who leaves wants no nickname any more; who could not be told of it is still in", () => {
  const session = make();
  joined(session);
  session.submit({ type: "leave", id: "l" });
  session.transmit();
  session.closed();
  joined(session, true);
  assert.deepEqual(sent(session), ["l"], "the join stands before it, since it needs one");
  session.receive(ack("l", { cursor: "e1-2" }));
  assert.deepEqual([session.joined, session.wanted], [false, ""]);
  session.opened();
  assert.deepEqual(session.transmit(), []);
});

test("only what the protocol names moves the cursor", () => {
  const session = make({ cursor: "e1-1" });
  const at = (/** @type {any} */ frame) => {
    session.receive(frame);
    return session.cursor;
  };
  assert.equal(at({ type: "welcome", cursor: "e1-9", heartbeat: 15, limits: {} }), "e1-1");
  assert.equal(at({ type: "gap", after: "e1-1", reason: "epoch" }), "e1-1");
  assert.equal(at({ type: "snapshot", cursor: "e1-9", more: true }), "e1-1");
  assert.equal(at(ack("x", { cursor: "e1-9" })), "e1-1");
  assert.equal(at({ type: "snapshot", cursor: "e1-9" }), "e1-9");
  assert.equal(at({ type: "message", cursor: "e1-10", text: "" }), "e1-10");
  assert.equal(at({ type: "heartbeat", cursor: "e1-12" }), "e1-12");
});

test("what is known is stale, across epochs as well; a snapshot never is", () => {
  const session = make({ cursor: "e1-9007199254740993" });
  const stale = (/** @type {any} */ frame) => session.isStale(frame);
  assert.equal(stale({ type: "message", cursor: "e1-9007199254740993" }), true);
  assert.equal(stale({ type: "message", cursor: "e2-9007199254740992" }), true);
  assert.equal(stale({ type: "message", cursor: "e1-9007199254740994" }), false);
  assert.equal(stale({ type: "snapshot", cursor: "e1-3" }), false);
});

test("what an earlier page left is resumed, unless this tab is a copy of it", () => {
  const unanswered = [{ command: say("a"), sent: true }];
  const resumed = make({ wanted: "Ann", unanswered: structuredClone(unanswered) });
  joined(resumed, true);
  assert.deepEqual(sent(resumed), ["a"]);

  const copy = make({ wanted: "Ann", unanswered: structuredClone(unanswered) });
  copy.submit(say("b"));
  assert.equal(copy.disown("u".repeat(43)), true);
  assert.deepEqual([copy.wanted, copy.entries.map(({ command }) => command.id)], ["", ["b"]]);

  const quick = make({ wanted: "Ann" });
  quick.join("Eve");
  assert.equal(quick.disown("u".repeat(43)), false, "a nickname chosen on this page stays wanted");
  quick.opened();
  assert.deepEqual(quick.transmit().map((join) => "token" in join && join.token), ["u".repeat(43)]);
});

test("what a reload has to know is written down before it is sent", () => {
  /** @type {[boolean, boolean[]][]} */
  const kept = [];
  /** @type {Session} */
  const session = make({ changed: (/** @type {boolean} */ leaving) => session && kept.push([leaving, session.entries.map(({ sent }) => sent)]) });
  joined(session);
  session.submit(say("a"));
  kept.length = 0;
  session.transmit();
  assert.deepEqual(kept, [[true, [true]]]);
});

/** @param {string} cursor @param {object} [more] */
const left = (cursor, more = {}) =>
  /** @type {any} */ ({ type: "left", cursor, at: "2026-11-23T10:00:00.000Z", nickname: "Ann", reason: "disconnected", ...more });

test("who was held lost while its connection went on joins again before it says anything", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.receive(left("e1-5"));
  const [join, ...rest] = session.transmit();
  assert.deepEqual([join.type, rest], ["join", []]);
  session.receive(ack(join.id, { nickname: "Ann", resumed: true, cursor: "e1-6" }));
  assert.deepEqual(sent(session), ["a"]);
});

test("a departure that is another one's, on purpose or over changes nothing", () => {
  for (const event of [left("e1-5", { nickname: "Bob" }), left("e1-5", { reason: "left" }), left("e1-1")]) {
    const session = make();
    joined(session);
    session.receive(event);
    assert.equal(session.joined, true);
    assert.deepEqual(sent(session), []);
  }
});

test("a leave that the next join undid is said once more, under another id", () => {
  const session = make();
  joined(session);
  /** @type {any} */
  const leave = { type: "leave", id: "l" };
  session.submit(leave);
  session.transmit();
  session.closed();
  session.opened();
  const [join] = session.transmit();
  session.receive(ack(join.id, { nickname: "Ann", resumed: true, cursor: "e1-5" }));
  assert.deepEqual(sent(session), ["l"]);
  assert.deepEqual(session.receive(ack("l", { cursor: "e1-3" })), [], "it happened before that join");
  const [again] = session.transmit();
  assert.equal(again.type, "leave");
  assert.notEqual(again.id, "l");
  const reply = ack(again.id, { cursor: "e1-6" });
  assert.deepEqual(session.receive(reply), [{ type: "answered", command: leave, reply }]);
  assert.deepEqual([session.joined, session.wanted, session.entries], [false, "", []]);
});

test("who is given up while it leaves does not come back", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.submit({ type: "leave", id: "l" });
  session.transmit();
  session.receive(left("e1-5"));
  assert.deepEqual(sent(session), []);
  for (const id of ["a", "l"]) assert.equal(session.receive(no(id, "not_joined")).length, 1);
  assert.deepEqual([sent(session), session.wanted], [[], ""]);
});

test("who was given up without noticing joins again and says it then, once", () => {
  const session = make();
  joined(session);
  for (const id of ["a", "b"]) session.submit(say(id));
  session.transmit();
  for (const id of ["a", "b"]) assert.deepEqual(session.receive(no(id, "not_joined")), []);
  const [join, ...rest] = session.transmit();
  assert.deepEqual([join.type, rest], ["join", []]);
  const outcomes = session.receive(ack(join.id, { nickname: "Ann", resumed: false, cursor: "e1-6" }));
  assert.deepEqual(outcomes.map(({ type }) => type), ["entered"], "what was refused did not happen");
  assert.deepEqual(sent(session), ["a", "b"]);
  session.receive(ack("a", { cursor: "e1-7" }));
  assert.deepEqual(session.entries.map(({ command }) => command.id), ["b"]);
});

/** @param {import("../../app/cloudchat/session.js").Outcome[]} outcomes */
const told = (outcomes) =>
  outcomes.map((one) => [one.type, one.type === "entered" ? one.join.nickname : one.command.id, one.type === "answered" && one.reply.type === "error" ? one.reply.code : ""]);

test("what waits behind a leave is refused at once; what was sent beside it has its own answer", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.submit({ type: "leave", id: "l" });
  session.transmit();
  session.submit(say("b"));
  assert.deepEqual(told(session.receive(ack("l", { cursor: "e1-6" }))), [["answered", "l", ""], ["answered", "b", "not_joined"]]);
  assert.deepEqual(told(session.receive(no("a", "not_joined"))), [["answered", "a", "not_joined"]]);
  assert.deepEqual(session.entries, []);
});

test("what waits for a nickname that is refused is refused with it; what may have happened waits for another", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.transmit();
  session.closed();
  session.submit(say("b"));
  session.opened();
  const [join] = session.transmit();
  assert.deepEqual(told(session.receive(no(join.id, "nickname_taken"))), [["entered", "Ann", ""], ["answered", "b", "not_joined"]]);
  session.join("Eve");
  const [again] = session.transmit();
  session.receive(ack(again.id, { nickname: "Eve", resumed: true, cursor: "e1-7" }));
  assert.deepEqual(sent(session), ["a"]);
});

test("what may have happened is uncertain where the next connection begins without a join", () => {
  const welcome = /** @type {any} */ ({ type: "welcome", heartbeat: 15, limits: {} });
  const session = make();
  joined(session);
  session.submit({ type: "leave", id: "l" });
  session.submit(say("a"));
  session.transmit();
  session.receive(ack("l", { cursor: "e1-6" }));
  assert.deepEqual(session.receive(welcome), [], "its answer is still to come");
  session.closed();
  session.opened();
  assert.deepEqual(told(session.receive(welcome)), [["uncertain", "a", ""]]);
  assert.deepEqual(session.entries, []);
});

test("what could not be done for the moment is not tried again by who has left", () => {
  const session = make();
  joined(session);
  session.submit({ type: "leave", id: "l" });
  session.submit(say("a"));
  session.transmit();
  session.receive(ack("l", { cursor: "e1-6" }));
  assert.deepEqual(told(session.receive(no("a", "unavailable"))), [["uncertain", "a", ""]]);
  assert.deepEqual([session.entries, session.postponed], [[], false]);
});

test("a leave under another id that was not sent is not uncertain where the server forgets", () => {
  const session = make();
  joined(session);
  session.submit({ type: "leave", id: "l" });
  session.transmit();
  joined(session, true);
  session.transmit();
  session.receive(ack("l"));
  session.closed();
  const outcomes = joined(session, false);
  assert.deepEqual(told(outcomes), [["entered", "Ann", ""]]);
  assert.deepEqual(session.transmit().map(({ type }) => type), ["leave"]);
});

test("too fast is an answer to what is said first, and none to what may have happened before", () => {
  const session = make();
  joined(session);
  session.submit(say("a"));
  session.transmit();
  session.closed();
  joined(session, true);
  session.submit(say("b"));
  assert.deepEqual(sent(session), ["a", "b"]);
  assert.deepEqual(told(session.receive(no("b", "rate_limited"))), [["answered", "b", "rate_limited"]]);
  assert.deepEqual(session.receive(no("a", "rate_limited")), []);
  session.retry();
  assert.deepEqual(sent(session), ["a"]);
});
