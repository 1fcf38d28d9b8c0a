// Nothing that a server says makes a loop without a pause.

import assert from "node:assert/strict";
import { test } from "node:test";
import { browserPlatform } from "../../app/cloudchat/platform.js";
import { pollFeed } from "../../app/cloudchat/poll.js";
import { Clock, settle } from "./clock.js";

const LIMITS = { text: 4096, nickname: 32, frame: 65536, unanswered: 100 };
const WELCOME = { type: "welcome", protocol: "cloudchat.v1", feed: "f", cursor: "e1-5", at: "", heartbeat: 15, limits: LIMITS };
const SNAPSHOT = { type: "snapshot", cursor: "e1-5" };
const EVENT = { type: "message", cursor: "e1-5", at: "2026-01-01T00:00:00Z", nickname: "a", text: "b" };

/**
 * How many polls are asked until the feed ends, where each is answered at once.
 * @param {(count: number) => any} answer
 */
async function polled(answer) {
  const clock = new Clock();
  let count = 0;
  /** @type {any} */
  let end;
  const platform = /** @type {any} */ ({
    fetch: async () => new Response(JSON.stringify(answer(++count))),
    setTimeout: clock.setTimeout.bind(clock),
    clearTimeout: clock.clearTimeout.bind(clock),
    now: () => clock.now,
  });
  const open = pollFeed({ base: new URL("http://server.test/"), topics: [], platform });
  const source = open("", [], { frame() {}, end: (ended) => void (end = ended) });
  for (let turn = 0; turn < 10 && !end; turn += 1) await settle();
  source.close();
  return { count, end };
}

test("polls that are answered before their time with nothing, or with what was said, end the feed", async () => {
  for (const heartbeat of [15, 0.0001]) {
    for (const frames of [[], [EVENT], [EVENT, EVENT], [SNAPSHOT], [{ ...WELCOME, heartbeat }, SNAPSHOT]]) {
      const { count, end } = await polled((count) => ({
        frames: count === 1 ? [{ ...WELCOME, heartbeat }, SNAPSHOT] : frames,
        cursor: "e1-5",
      }));
      assert.equal(count, 2, JSON.stringify(frames));
      assert.equal(end.why, "lost");
    }
  }
});

test("polls that bring something go on at once, and a server that restarts says so at any cursor", async () => {
  const { count, end } = await polled((count) => {
    if (count === 9) return { frames: [{ type: "closing", retry_after: 1 }], cursor: "e1-12" };
    return { frames: count === 1 ? [WELCOME, SNAPSHOT] : [{ ...EVENT, cursor: `e1-${count + 4}` }], cursor: `e1-${count + 4}` };
  });
  assert.deepEqual([count, end.why], [9, "restart"]);
});

test("a timer that is set for ever does not fire at once", async () => {
  for (const ms of [2 ** 31, 1e12, Infinity]) {
    const platform = browserPlatform();
    let fired = false;
    const timer = platform.setTimeout(() => (fired = true), ms);
    await new Promise((resolve) => void setTimeout(resolve, 20));
    platform.clearTimeout(timer);
    assert.equal(fired, false);
  }
});
