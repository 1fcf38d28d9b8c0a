// A world of some tabs and a server, in which everything goes wrong that a seed says, and then nothing more. What each tab
// was told and what became of each command is held against the server's log. The same seed gives the same world.

import assert from "node:assert/strict";
import { Browser } from "./browser.js";
import { settle } from "./clock.js";

/** @import {Client} from "../../app/cloudchat/cloudchat.js" */
/** @import {Tab} from "./browser.js" */

/**
 * `said`: texts by id. `pages`: the tab, and what it was before each reload, with the cursor where each began.
 * @typedef {{n: number, said: Map<string, string>, pages: {tab: Tab, after: string}[], tab: Tab}} Person
 */

/** @param {string} cursor */
const offset = (cursor) => Number(cursor.split("-")[1]);

/**
 * What a tab was told is the log, from where it began, without a hole that was not said.
 * @param {any[]} items
 * @param {any[]} log
 * @param {string} after
 */
function check(items, log, after) {
  let at = after && offset(after);
  let lost = false;
  for (const item of items) {
    if (item.type === "gap") lost = true;
    if (item.type === "snapshot" && !item.more) {
      assert.ok(lost || at === "" || at === offset(item.cursor), `from ${at} to ${item.cursor} without a gap`);
      at = offset(item.cursor);
      lost = false;
    }
    if (!["message", "joined", "left"].includes(item.type)) continue;
    assert.equal(offset(item.cursor), Number(at) + 1, `after ${at} came ${item.cursor}`);
    assert.deepEqual(item, log[Number(at)]);
    at = offset(item.cursor);
  }
  return at;
}

/**
 * What was said is in the log as often as its answer has it, and in the order in which it was said.
 * @param {Person} person
 * @param {any[]} log
 * @param {Set<string>} postponed What the server could not do at first: the next may be done before it.
 */
function checkSaid({ said, pages }, log, postponed) {
  /** @type {Map<string, string>} */
  const outcomes = new Map();
  for (const { tab } of pages) {
    const told = tab.items.filter(({ type }) => type === "answered" || type === "uncertain");
    assert.equal(new Set(told.map(({ command }) => command.id)).size, told.length, "a page is told once");
    for (const { command, type, reply } of told) {
      const outcome = type === "uncertain" ? type : reply.type;
      // What was told just before a page ended, the next one may be told as well.
      assert.equal(outcomes.get(command.id) ?? outcome, outcome);
      outcomes.set(command.id, outcome);
    }
  }
  const heard = log.map(({ ref }) => ref).filter((ref) => said.has(ref));
  /** @param {string} id */
  const happened = (id) => outcomes.get(id) === "ack" || (outcomes.get(id) === "uncertain" && heard.includes(id));
  const expected = [...said.keys()].filter(happened);
  assert.deepEqual([...heard].sort(), [...expected].sort(), "each once, and nothing that was refused");
  /** @param {string[]} ids */
  const prompt = (ids) => ids.filter((id) => !postponed.has(id));
  assert.deepEqual(prompt(heard), prompt(expected), "in order");
  for (const id of said.keys()) assert.ok(outcomes.has(id), `${id} was never answered`);
}

/**
 * @param {number} seed
 * @param {string} transport
 * @param {typeof Client} [Implementation]
 */
export async function run(seed, transport, Implementation) {
  const browser = new Browser(seed, Implementation);
  const { clock, server, chance } = browser;
  const { below, pick } = chance;
  let calm = false;
  server.faults = (what) => {
    if (calm || below(8)) return "";
    return pick(["lost", "unanswered", "lost", "unanswered", what === "POST commands" ? "stuck" : "lost"]);
  };
  server.latency = () => (calm || below(2) ? 0 : pick([100, 2000, 3900]));
  server.lag = () => (calm || below(3) ? 0 : pick([50, 3000]));
  const postponed = /** @type {Set<string>} */ (new Set());
  server.refuse = ({ type, id }) => {
    if (calm || type === "away" || below(20)) return undefined;
    postponed.add(id);
    return { code: pick(["unavailable", "unavailable", "internal", "rate_limited"]) };
  };
  server.slowness = () => (calm || below(3) ? 0 : pick([10, 1000, 9000, 20_000]));
  /** @type {Person[]} */
  const people = [];
  let names = 0;
  /** @param {Person} one */
  const join = ({ n, tab }) => void tab.client.join(`n${n}-${++names}`);
  /** @param {any} more */
  const open = (more) => {
    const tab = browser.tab({ transport, ...more });
    tab.client.start();
    return { tab, after: more.after ?? "" };
  };
  const come = () => {
    const pages = [open({})];
    const one = {
      n: people.length,
      said: new Map(),
      pages,
      get tab() {
        return pages[pages.length - 1].tab;
      },
    };
    people.push(one);
    join(one);
  };
  const awake = () => pick(people.filter(({ tab }) => !tab.frozen).concat(people[0]));
  /** @type {Record<string, () => void>} */
  const deeds = {
    come: () => people.length < 4 && come(),
    say() {
      const one = awake();
      for (let left = below(4); left >= 0; left--) {
        if (!one.tab.client.wanted || one.tab.frozen) return;
        const id = one.tab.client.newId();
        const text = `${one.n}:${one.said.size}`;
        one.said.set(id, text);
        void one.tab.client.execute({ type: "say", id, text });
      }
    },
    leave() {
      const { tab } = awake();
      if (tab.client.wanted && !tab.frozen) void tab.client.leave();
    },
    join() {
      const one = awake();
      if (!one.tab.client.wanted && !one.tab.frozen) join(one);
    },
    lose: () => server.lose(awake().tab.client.nickname),
    rob() {
      // Somebody else takes the nickname before its owner is back.
      const { nickname } = awake().tab.client;
      if (!nickname) return;
      server.lose(nickname);
      server.tokens.set(`thief of ${nickname}`, { answers: new Map(), nickname });
    },
    forget: () => void (server.first = Math.max(server.first, server.log.length - below(3))),
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
      const { memory, client } = one.tab;
      one.pages.push(open({ memory, after: client.cursor }));
    },
  };
  const often = [...Object.keys(deeds), "say", "say", "say", "up", "up", "wake", "join", "other"];
  if (below(2)) deeds.offer();
  come();
  await settle();
  for (let step = 0; step < 60; step++) {
    deeds[pick(often)]();
    await Promise.resolve(); // no page ends in the middle of a turn
    if (below(3)) await clock.advance(pick([0, 1, 50, 300, 2000, 20_000]));
  }
  calm = server.up = true;
  server.offered = new Set(["ws", "sse", "poll"]);
  for (const { tab } of people) tab.wake();
  const state = () => people.map(({ tab: { client, status } }) => [status, client.wanted, client.joined, client.unanswered, client.cursor, server.cursor]);
  // No silence lasts that long where a server says heartbeats.
  const idle = () =>
    people.every(({ tab: { client } }) => client.joined === (client.wanted !== "") && !client.unanswered.length && client.cursor === server.cursor);
  for (let n = 0; n < 30 && !idle(); n++) {
    server.beat();
    await clock.advance(10_000);
    if (n % 4 !== 3) continue;
    // What may have happened waits for another nickname, or for the connection's end; nothing else waits.
    for (const { tab: { client } } of people)
      if (!client.wanted) assert.deepEqual(client.unanswered.filter(({ id }) => !server.sent.has(id)), []);
    server.drop();
  }
  assert.ok(idle(), JSON.stringify(state()));
  for (const one of people) {
    const ends = one.pages.map(({ tab, after }) => check(tab.items, server.log, after));
    assert.equal(ends.pop(), offset(server.cursor));
    checkSaid(one, server.log, postponed);
  }
  const present = [...server.tokens.entries()].filter(([token]) => !token.startsWith("thief")).map(([, { nickname }]) => nickname);
  const wanted = people.map(({ tab }) => tab.client.wanted);
  assert.deepEqual(present.filter(Boolean).sort(), wanted.filter(Boolean).sort(), "nobody is in who left, and all who want to");
  for (const { tab } of people) tab.client.close();
  await clock.advance(20_000);
  assert.deepEqual(people.map(({ tab }) => tab.timers.size), people.map(() => 0), "nothing is left");
  assert.equal(server.feeds.size, 0);
  await settle();
}
