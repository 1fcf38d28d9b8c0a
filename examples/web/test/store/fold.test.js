import assert from "node:assert/strict";
import { test } from "node:test";

import { Fold, HELD } from "../../app/store/fold.js";
import { message, moment, randomFrom, World } from "./world.js";

const nothing = () => {};

/** @param {Fold} fold what it holds, as a snapshot would have it */
function shown(fold) {
  return {
    type: "snapshot",
    cursor: fold.cursor,
    participants: [...fold.participants.values()],
    messages: [...fold.messages.values()].slice(-50),
    instances: [...fold.instances.listed.values()],
    operations: [...fold.instances.operations.values()],
    worklog: [...fold.worklog.values()].slice(-50),
  };
}

/** @param {ReturnType<World["snapshot"]>} snapshot in parts, as a server cuts what is over a frame */
function cut(snapshot) {
  const { cursor, participants, messages, instances, operations, worklog } = snapshot;
  /** @param {object} lists @param {boolean} more */
  const part = (lists, more) => /** @type {const} */ ({ type: "snapshot", cursor, ...lists, ...(more && { more }) });
  return [
    part({ participants, messages: messages.slice(0, 7) }, true),
    part({ messages: messages.slice(7), instances: instances.slice(0, 1) }, true),
    part({ instances: instances.slice(1), operations, worklog }, false),
  ];
}

for (const seed of [1, 2, 3, 4, 5])
  test(`at every cursor the fold is what a snapshot there would be (seed ${seed})`, () => {
    const world = new World(randomFrom(seed));
    const random = randomFrom(seed + 100);
    const fold = new Fold(nothing);
    fold.apply(world.snapshot());
    for (let step = 0; step < 400; step += 1) {
      const event = world.step();
      assert.equal(fold.apply(event), "moved");
      if (random() < 0.2) assert.equal(fold.apply(event), "", "what comes twice changes nothing");
      assert.deepEqual(shown(fold), world.snapshot());
    }
  });

test("a fold that begins in the middle, with a snapshot in parts, goes on like one that saw all", () => {
  const world = new World(randomFrom(7));
  for (let step = 0; step < 150; step += 1) world.step();
  const fold = new Fold(nothing);
  const parts = cut(world.snapshot());
  assert.deepEqual(
    parts.map((part) => fold.apply(part)),
    ["", "", "replaced"],
  );
  for (let step = 0; step < 150; step += 1) {
    fold.apply(world.step());
    assert.deepEqual(shown(fold), world.snapshot());
  }
});

test("parts of a snapshot that a lost connection cut short are never shown", () => {
  const world = new World(randomFrom(8));
  for (let step = 0; step < 60; step += 1) world.step();
  const [first] = cut(world.snapshot());
  const fold = new Fold(nothing);
  fold.apply(first);
  assert.equal(fold.cursor, "");
  const limits = { text: 1, nickname: 1, frame: 1, unanswered: 1 };
  fold.apply({ type: "welcome", protocol: "cloudchat.v1", feed: "f", cursor: "e-1", at: moment(1), heartbeat: 15, limits });
  fold.apply(world.snapshot());
  assert.deepEqual(shown(fold), world.snapshot());
});

test("a heartbeat moves the cursor, so that what it stands for is not asked for again", () => {
  const fold = new Fold(nothing);
  fold.apply({ type: "heartbeat", cursor: "e-9", at: moment(9) });
  assert.equal(fold.cursor, "e-9");
});

test("frames of a type that is not known change nothing", () => {
  const fold = new Fold(nothing);
  assert.equal(fold.apply(/** @type {any} */ ({ type: "tea", cursor: "e-9" })), "");
  assert.equal(fold.cursor, "");
});

test("after a gap the lists are the snapshot's, and the loss is known, until the next snapshot without one", () => {
  const fold = new Fold(nothing);
  const empty = new World(randomFrom(1)).snapshot();
  fold.apply({ ...empty, messages: [message(3)], cursor: "e-3" });
  fold.apply({ type: "gap", after: "e-3", reason: "retention" });
  assert.equal(fold.messages.size, 1, "what is known stays on the screen until there is better");
  fold.apply({ ...empty, messages: [message(90)], cursor: "e-90" });
  assert.deepEqual([...fold.messages.keys()], ["e-90"]);
  assert.deepEqual(fold.loss, { after: "e-3", reason: "retention", before: "e-90" });
  fold.apply({ ...empty, cursor: "e-91" });
  assert.equal(fold.loss, null);
});

test("messages are bounded, and the oldest go first", () => {
  /** @type {Map<string, Set<string>>} */
  const touched = new Map([["messages", new Set()]]);
  const fold = new Fold((list, key = "") => touched.get(list)?.add(key));
  for (let offset = 1; offset <= HELD + 2000; offset += 1) fold.apply(message(offset));
  assert.ok(fold.messages.size >= HELD && fold.messages.size <= HELD + 500);
  assert.equal([...fold.messages.keys()].at(-1), `e-${HELD + 2000}`);
  for (const gone of ["e-1", "e-1000"]) assert.ok(touched.get("messages")?.has(gone) && !fold.messages.has(gone));
});

test("an older page goes before what is held, without what is held already", () => {
  const fold = new Fold(nothing);
  for (const offset of [5, 6]) fold.apply(message(offset));
  fold.prepend("messages", [message(5), message(3), message(2)]);
  assert.deepEqual([...fold.messages.keys()], ["e-2", "e-3", "e-5", "e-6"]);
});

test("a page that was on its way while its message was redacted does not bring the text back", () => {
  const fold = new Fold(nothing);
  fold.apply(message(5));
  fold.apply({ type: "redacted", cursor: "e-6", at: moment(6), message: "e-2", by: "Petr" });
  fold.prepend("messages", [message(2)]);
  assert.deepEqual(fold.messages.get("e-2"), { ...message(2), text: "", redacted: true });
});

test("of failures the last of each listed instance is known, and of what was never created only the very last", () => {
  const fold = new Fold(nothing);
  /** @param {number} offset @param {string} id @param {"running"} [state] */
  const failed = (offset, id, state) =>
    fold.apply({
      type: "failed",
      cursor: `e-${offset}`,
      at: moment(offset),
      command: state ? "stop" : "create",
      instance: state ? { id, state } : { id },
      operation: { id: `o${offset}`, command: "create", received_at: moment(offset) },
      by: null,
      reason: "broken",
      detail: "!",
    });
  failed(1, "a", "running");
  failed(2, "b");
  failed(3, "c");
  assert.deepEqual([...fold.instances.failures.keys()], ["a", "c"]);
});
