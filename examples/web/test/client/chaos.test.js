// Whatever breaks, in whatever order: nothing is lost, doubled or out of order. The same seeds give the same runs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Browser } from "./browser.js";
import { settle } from "./clock.js";

/** @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));

/** @param {string} cursor */
const offset = (cursor) => Number(cursor.split("-")[1]);

/**
 * What a tab was told is the log, from where it began, without a hole.
 * @param {import("./browser.js").Tab} tab
 * @param {any[]} log
 * @param {string} after
 */
function check(tab, log, after) {
  let at = after && offset(after);
  for (const item of tab.items) {
    if (item.type === "snapshot" && !item.more) at = offset(item.cursor);
    if (!["message", "joined", "left"].includes(item.type)) continue;
    assert.equal(offset(item.cursor), Number(at) + 1, `after ${at} came ${item.cursor}`);
    assert.deepEqual(item, log[Number(at)]);
    at = offset(item.cursor);
  }
  return at;
}

/**
 * @param {number} seed
 * @param {string} transport
 */
async function run(seed, transport) {
  const browser = new Browser(seed);
  const { clock, server, chance } = browser;
  const { below, pick } = chance;
  let calm = false;
  server.faults = (what) => {
    if (calm || below(8)) return "";
    return pick(["lost", "unanswered", "lost", "unanswered", what === "POST commands" ? "stuck" : "lost"]);
  };
  const options = { transport };
  /** @type {{tab: import("./browser.js").Tab, after: string, said: string[]}[]} */
  const people = [];
  /** @type {[import("./browser.js").Tab, string][]} */
  const gone = [];
  const come = () => {
    const tab = browser.tab(options);
    people.push({ tab, after: "", said: [] });
    tab.client.start();
    void tab.client.join(`n${people.length}`);
  };
  /** @type {Record<string, () => void>} */
  const deeds = {
    come: () => people.length < 4 && come(),
    say() {
      const one = pick(people);
      for (let n = below(4); n >= 0; n--) {
        const text = `${people.indexOf(one)}:${one.said.length}`;
        if (!one.tab.client.wanted || one.tab.frozen) return;
        one.said.push(text);
        one.tab.say(text);
      }
    },
    drop: () => server.drop(),
    one: () => pick([...server.feeds, { end() {} }]).end(),
    down: () => server.down(),
    up: () => void (server.up = true),
    offer: () => void (server.offered = new Set(["ws", "sse", "poll"].filter((name) => name === transport || below(2)))),
    beat: () => server.beat(),
    other: () => void server.append({ type: "message", nickname: "x", text: "x", ref: "x" }),
    hang: () => pick(people).tab.hang(),
    wake: () => pick(people).tab.wake(),
    look: () => pick(people).tab.events.dispatchEvent(new Event("online")),
    reload() {
      const one = pick(people);
      if (below(2)) one.tab.hide();
      else one.tab.crash();
      gone.push([one.tab, one.after]);
      one.after = one.tab.client.cursor;
      one.tab = browser.tab({ ...options, memory: one.tab.memory, after: one.after });
      one.tab.client.start();
    },
  };
  const names = [...Object.keys(deeds), "say", "say", "say", "up", "up", "wake"];
  come();
  await settle();
  for (let step = 0; step < 60; step++) {
    deeds[pick(names)]();
    await Promise.resolve(); // no page ends in the middle of a turn
    if (below(3)) await clock.advance(pick([0, 1, 50, 300, 2000, 20_000]));
  }
  calm = server.up = true;
  server.offered = new Set(["ws", "sse", "poll"]);
  for (const { tab } of people) tab.wake();
  // No silence lasts that long where a server says heartbeats.
  const idle = () => people.every(({ tab }) => tab.client.joined && !tab.client.unanswered.length && tab.client.cursor === server.cursor);
  for (let n = 0; n < 30 && !idle(); n++) {
    server.beat();
    await clock.advance(10_000);
  }
  assert.ok(idle(), JSON.stringify(people.map(({ tab }) => [tab.status, tab.client.joined, tab.client.unanswered, tab.client.cursor, server.cursor])));
  for (const [tab, after] of gone) check(tab, server.log, after);
  for (const [n, { tab, after, said }] of people.entries()) {
    assert.equal(check(tab, server.log, after), offset(server.cursor));
    const heard = server.log.filter(({ text }) => text?.startsWith(`${n}:`)).map(({ text }) => text);
    assert.deepEqual(heard, said);
    assert.deepEqual(tab.all("uncertain"), []);
  }
  for (const { tab } of people) tab.client.close();
  await clock.advance(20_000);
  assert.deepEqual(people.map(({ tab }) => tab.timers.size), people.map(() => 0), "nothing is left");
  assert.equal(server.feeds.size, 0);
  await settle();
  assert.deepEqual(unhandled.splice(0), []);
}

const FIRST = Number(process.env.CHAOS_SEED ?? 1);
const RUNS = Number(process.env.CHAOS ?? 12);
for (const transport of ["auto", "ws", "sse", "poll"]) {
  test(`nothing is lost, doubled or out of order (${transport})`, async () => {
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      try {
        await run(seed, transport);
      } catch (error) {
        throw new Error(`seed ${seed}: ${/** @type {Error} */ (error).stack}`, { cause: error });
      }
    }
  });
}
