import assert from "node:assert/strict";
import { test } from "node:test";
import { asFrame } from "../../app/cloudchat/cursors.js";

const at = "2026-01-01T00:00:00.000Z";
const operation = { id: "o1", command: "start", received_at: at };
const WHOLE = {
  welcome: { protocol: "cloudchat.v1", feed: "f", cursor: "e-1", at, heartbeat: 15, limits: {} },
  heartbeat: { cursor: "e-1", at },
  joined: { cursor: "e-1", at, nickname: "Ann" },
  left: { cursor: "e-1", at, nickname: "Ann", reason: "left" },
  message: { cursor: "e-1", at, nickname: "Ann", text: "" },
  redacted: { cursor: "e-2", at, message: "e-1", by: null },
  started: { cursor: "e-1", at, instance: { id: "i1" }, operation, by: null },
  snapshot: { cursor: "e-1" },
};
const PART = { participants: { nickname: "Ann" }, instances: { id: "i1" }, operations: { id: "o1", instance: "i1" } };

test("a frame that has what it cannot be without is taken as it is", () => {
  for (const [type, members] of Object.entries(WHOLE)) {
    const frame = { type, ...members, more: "than is known" };
    assert.equal(asFrame(frame), frame);
  }
  const { message, started } = WHOLE;
  const lists = { messages: [{ type: "message", ...message }], worklog: [{ type: "started", ...started }] };
  const parts = Object.fromEntries(Object.entries(PART).map(([list, one]) => [list, [one]]));
  assert.ok(asFrame({ type: "snapshot", cursor: "e-1", ...lists, ...parts }));
});

test("a type that is not known is ignored, whatever it is called", () => {
  for (const type of ["", "kicked", "constructor", "__proto__"]) assert.equal(asFrame({ type }), undefined);
});

test("what lacks something that is shown, or has something else in its place, is no frame", () => {
  const needed = /** @type {const} */ ({
    welcome: ["heartbeat", "limits"], heartbeat: ["cursor"], snapshot: ["cursor"], joined: ["cursor", "nickname"],
    left: ["nickname"], message: ["cursor", "nickname", "text"], redacted: ["message"], started: ["instance", "operation"],
  });
  for (const [type, names] of Object.entries(needed))
    for (const name of names)
      for (const wrong of [undefined, 0, {}]) {
        const frame = { type, .../** @type {any} */ (WHOLE)[type], [name]: wrong };
        if (name !== "limits" || !wrong) assert.throws(() => asFrame(frame), `${type} with ${name} ${wrong}`);
      }
  for (const list of ["participants", "messages", "instances", "operations", "worklog"])
    for (const wrong of [5, [null], [5], [{}], ["text"], [{ type: "message", cursor: "e-1" }]])
      assert.throws(() => asFrame({ type: "snapshot", cursor: "e-1", [list]: wrong }), `${list} ${JSON.stringify(wrong)}`);
  for (const nothing of [null, 5, "text", [], {}, { type: 5 }]) assert.throws(() => asFrame(nothing));
});
