import assert from "node:assert/strict";
import { test } from "node:test";
import { Browser } from "./browser.js";
import { settle } from "./clock.js";

/** @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));
test.afterEach(async () => {
  await settle();
  assert.deepEqual(unhandled.splice(0), []);
});

const WAYS = /** @type {const} */ (["sse", "poll"]);
const NAMES = ["Ann", "Bob", "Cem", "Dot", "Eve", "Fay", "Gus", "Hal", "Ida", "Jan"];

/**
 * Tabs that have joined.
 * @param {string} transport
 * @param {number} count
 */
async function open(transport, count, browser = new Browser()) {
  const { clock, server } = browser;
  /** @type {import("./browser.js").Tab[]} */
  const tabs = [];
  for (const name of NAMES.slice(0, count)) {
    const tab = browser.tab({ transport });
    tabs.push(tab);
    tab.client.start();
    void tab.client.join(name);
    await clock.until(() => tab.client.joined);
  }
  // Whoever is new may have had the feed opened anew.
  await clock.until(() => tabs.every(({ client }) => client.joined));
  return { browser, clock, server, tabs, leader: () => tabs.find((tab) => !tab.dead && !tab.status.shared && tab.status.state === "open") };
}

/** @param {import("./server.js").Server} server */
const feeds = (server) => [...server.feeds].length;

/** @param {import("./server.js").Server} server @param {string} transport */
const presentTokens = (server, transport) =>
  transport === "sse"
    ? [...new Set([...server.feeds].flatMap(({ scopes }) => [...scopes]))]
    : (server.requests.filter(({ what, url }) => what === "GET poll" && url.searchParams.get("wait") !== "0").at(-1)?.tokens ?? []);

/** @param {import("./browser.js").Tab[]} tabs @param {string[]} texts */
const same = (tabs, texts) => () => tabs.every((tab) => JSON.stringify(tab.texts) === JSON.stringify(texts));

for (const transport of WAYS) {
  test(`ten tabs have one connection, and all hear and speak (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 10);
    assert.equal(feeds(server), 1);
    assert.deepEqual(tabs.map((tab) => tab.status.shared), [false, ...Array(9).fill(true)]);
    assert.equal(presentTokens(server, transport).length, 10, "all are kept present");
    const texts = tabs.map((_, n) => `m${n}`);
    for (const [n, tab] of tabs.entries()) {
      tab.say(texts[n]);
      await settle();
    }
    await clock.until(same(tabs, texts));
    await clock.advance(10_000);
    assert.deepEqual(tabs.flatMap((tab) => tab.all("left")), []);
    assert.equal(feeds(server), 1);
  });

  test(`a tab that comes late begins with a snapshot, or where it was (${transport})`, async () => {
    const { browser, clock, server, tabs } = await open(transport, 2);
    tabs[0].say("a");
    await clock.until(same(tabs, ["a"]));
    const cursor = tabs[1].client.cursor;
    const fresh = browser.tab({ transport });
    fresh.client.start();
    await clock.until(() => fresh.all("snapshot").length === 2);
    assert.deepEqual(fresh.all("snapshot").flatMap(({ messages }) => messages.map((/** @type {any} */ { text }) => text)), ["a"]);
    for (const text of ["b", "c"]) tabs[0].say(text);
    await clock.until(same(tabs, ["a", "b", "c"]));
    const back = browser.tab({ transport, after: cursor });
    back.client.start();
    await clock.until(same([back, fresh], ["b", "c"]));
    assert.deepEqual([back.all("snapshot"), back.all("gap")], [[], []]);
    tabs[0].say("d");
    await clock.until(same([back, fresh], ["b", "c", "d"]));
    assert.equal(feeds(server), 1);
  });

  test(`what is broadcast while a tab catches up stands behind it (${transport})`, async () => {
    const { browser, clock, server, tabs } = await open(transport, 1);
    const cursor = tabs[0].client.cursor;
    tabs[0].say("a");
    await clock.until(same(tabs, ["a"]));
    let pass = () => {};
    const gate = new Promise((resolve) => {
      pass = () => resolve(undefined);
    });
    const late = browser.tab({ transport, after: cursor });
    const { fetch } = late.platform;
    late.platform.fetch = async (url, init) => {
      const response = await fetch(url, init);
      await gate;
      return response;
    };
    late.client.start();
    await settle();
    tabs[0].say("b");
    await clock.until(same(tabs, ["a", "b"]));
    assert.deepEqual(late.texts, []);
    pass();
    await clock.until(same([late], ["a", "b"]));
    assert.equal(feeds(server), 1);
  });

  for (const end of /** @type {const} */ (["crash", "hide"])) {
    test(`when the leader goes (${end}), the next one leads from where it is, and nothing is lost (${transport})`, async () => {
      const { clock, server, tabs, leader } = await open(transport, 4);
      tabs[1].say("a");
      await clock.until(same(tabs, ["a"]));
      tabs[0][end]();
      server.append({ type: "message", nickname: "x", text: "b" });
      const left = tabs.slice(1);
      await clock.until(same(left, ["a", "b"]));
      await clock.until(() => left.every(({ client }) => client.joined));
      assert.ok(leader());
      assert.deepEqual(left.flatMap((tab) => tab.all("snapshot").slice(2)), []);
      assert.ok(!left.some((tab) => tab.all("status").some(({ state }) => state === "waiting")), "there was no break");
      left[1].say("c");
      await clock.until(same(left, ["a", "b", "c"]));
      await clock.advance(5000);
      assert.equal(feeds(server), 1);
      assert.equal(presentTokens(server, transport).length, 3, "who is gone is not kept present");
    });
  }

  test(`a leader that goes to another transport keeps the others present until the next one leads (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 3);
    const lost = new Set();
    const before = presentTokens(server, transport);
    tabs[0].client.close();
    for (let i = 0; i < 20; i++) {
      await settle();
      if (transport === "sse" && !before.slice(1).every((token) => presentTokens(server, transport).includes(token))) lost.add(i);
    }
    await clock.until(() => tabs.slice(1).every(({ client }) => client.joined));
    assert.deepEqual([...lost], []);
    await clock.advance(3000);
    assert.equal(feeds(server), 1);
  });

  test(`a leader that hangs is found out, and its lead taken (${transport})`, async () => {
    const { clock, server, tabs, leader } = await open(transport, 3);
    tabs[0].hang();
    server.append({ type: "message", nickname: "x", text: "a" });
    const left = tabs.slice(1);
    await clock.until(same(left, ["a"]), 60_000);
    await clock.until(() => left.every(({ client }) => client.joined));
    assert.ok(left.includes(/** @type {any} */ (leader())) || tabs[0].status.state === "open");
    tabs[0].wake();
    await clock.until(() => tabs.every(({ client }) => client.joined), 60_000);
    await clock.until(same(tabs, ["a"]));
    left[0].say("b");
    await clock.until(same(tabs, ["a", "b"]));
    await clock.advance(5000);
    assert.equal(tabs.filter((tab) => !tab.status.shared).length, 1, "one leads");
    assert.equal(feeds(server), 1);
  });

  test(`a lead that is slow to begin is not taken (${transport})`, async () => {
    const browser = new Browser();
    const { clock, server } = browser;
    server.faults = (what) => (/GET/.test(what) ? "stuck" : "");
    const tabs = [browser.tab({ transport }), browser.tab({ transport })];
    for (const tab of tabs) {
      tab.client.start();
      await settle();
    }
    await clock.advance(8000);
    assert.equal(server.requests.length, 1);
    server.faults = () => "";
    await clock.until(() => tabs.every((tab) => tab.status.state === "open"));
    await clock.until(() => feeds(server) === 1);
  });

  for (const end of /** @type {const} */ (["crash", "hide"])) {
    test(`a tab that goes (${end}) is taken off the feed at once, and nobody else notices (${transport})`, async () => {
      const { clock, server, tabs } = await open(transport, 3);
      assert.equal(presentTokens(server, transport).length, 3);
      // Its goodbye may be lost, too.
      server.faults = (what) => (what === "POST commands" ? "lost" : "");
      tabs[1][end]();
      server.faults = () => "";
      const left = [tabs[0], tabs[2]];
      const { now } = clock;
      await clock.until(() => left.every(({ client }) => client.joined) && presentTokens(server, transport).length === 2);
      assert.ok(clock.now - now < 1000);
      assert.equal(feeds(server), 1);
      tabs[0].say("a");
      await clock.until(same(left, ["a"]));
      assert.ok(!left.some((tab) => tab.all("status").some(({ state }) => state === "waiting")), "there was no break");
    });
  }

  test(`where the server knows no token any more, all join again (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 4);
    server.tokens.clear();
    server.drop();
    await settle();
    await clock.until(() => tabs.every(({ client }) => client.joined));
    assert.equal(server.tokens.size, 4);
    for (const tab of tabs) await clock.until(() => tab.all("joined_as").at(-1).nickname === tab.client.nickname);
    tabs[3].say("a");
    await clock.until(same(tabs, ["a"]));
    await clock.until(() => presentTokens(server, transport).length === 4);
  });

  test(`a new leader that names tokens which the server does not know any more asks nobody to connect again (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 4);
    server.tokens.clear();
    tabs[0].crash();
    const left = tabs.slice(1);
    await clock.until(() => left.every((tab) => tab.client.joined && server.tokens.has(tab.memory.get("cloudchat http://chat.test/ token") ?? "")));
    await clock.advance(5000);
    assert.ok(!left.some((tab) => tab.all("status").some(({ state }) => state === "waiting")));
    assert.equal(presentTokens(server, transport).length, 3);
  });

  test(`on a new feed what waits to be posted is said once, behind the join (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 2);
    const [leader, tab] = tabs;
    const { fetch } = tab.platform;
    let pass = () => {};
    const gate = new Promise((resolve) => {
      pass = () => resolve(undefined);
    });
    tab.platform.fetch = async (url, init) => {
      if (init.body) await gate;
      return fetch(url, init);
    };
    tab.say("a");
    await settle();
    tab.say("b");
    await settle();
    const before = server.requests.length;
    leader.crash();
    await settle();
    pass();
    await clock.until(same([tab], ["a", "b"]));
    const posted = server.requests.slice(before).flatMap(({ body }) => body ?? []);
    assert.deepEqual(posted.map(({ type, text }) => text ?? type), ["a", "join", "b"]);
  });

  test(`a server that is killed and comes back finds all (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 4);
    server.down();
    await clock.advance(10_000);
    assert.ok(tabs.every((tab) => tab.status.state !== "open"));
    const said = tabs.map((tab, n) => tab.say(`m${n}`));
    server.up = true;
    await clock.until(() => tabs.every((tab) => tab.texts.length === 4));
    await Promise.all(said);
    assert.ok(same(tabs, tabs[0].texts)());
    await clock.advance(5000);
    assert.equal(feeds(server), 1);
  });

  test(`a log that begins anew is a gap for each tab (${transport})`, async () => {
    const { clock, server, tabs } = await open(transport, 3);
    for (let n = 0; n < 5; n++) tabs[0].say(`m${n}`);
    await clock.until(() => tabs.every((tab) => tab.texts.length === 5));
    server.epoch = "e2";
    server.log = [];
    server.append({ type: "message", nickname: "x", text: "new" });
    server.drop();
    await clock.until(() => tabs.every((tab) => tab.client.joined && tab.all("gap").length === 1));
    await clock.until(() => tabs.every((tab) => tab.client.cursor === server.cursor));
    tabs[1].say("next");
    await clock.until(() => tabs.every((tab) => tab.texts.length === 6));
  });

  test(`tabs of different topics, and of different transports, have nothing to do with one another (${transport})`, async () => {
    const browser = new Browser();
    const tabs = [browser.tab({ transport }), browser.tab({ transport, topics: ["chat"] }), browser.tab({ transport: transport === "sse" ? "poll" : "sse" })];
    for (const tab of tabs) tab.client.start();
    await browser.clock.until(() => tabs.every((tab) => tab.status?.state === "open"));
    assert.deepEqual(tabs.map((tab) => tab.status.shared), [false, false, false]);
  });
}

test("where a server has no polls, a tab that cannot catch up has a stream of its own", async () => {
  const browser = new Browser();
  browser.server.offered = new Set(["sse"]);
  const { clock, server, tabs } = await open("sse", 3, browser);
  await clock.until(() => tabs.every((tab) => tab.status.state === "open" && tab.all("snapshot").length === 2));
  tabs[1].say("a");
  await clock.until(same(tabs, ["a"]));
  assert.equal(feeds(server), 3);
});

test("where locks are forbidden, each tab has a feed of its own", async () => {
  const browser = new Browser();
  const tabs = [browser.tab({ transport: "sse" }), browser.tab({ transport: "sse" })];
  for (const tab of tabs) {
    tab.platform.locks = /** @type {any} */ ({ request: () => Promise.reject(new DOMException("no", "SecurityError")) });
  }
  for (const tab of tabs) tab.client.start();
  await browser.clock.until(() => tabs.every((tab) => tab.status?.state === "open"));
  assert.equal(feeds(browser.server), 2);
});

test("a leader that has no snapshot yet opens no other feed: two would hide what happened between them", async () => {
  const browser = new Browser();
  const { clock, server } = browser;
  const feeds = () => server.requests.filter(({ what }) => what === "GET sse").map(({ url }) => url.searchParams.get("after"));
  server.slowness = () => 5000;
  const [ann, bob] = ["Ann", "Bob"].map((name) => {
    const tab = browser.tab({ transport: "sse" });
    tab.client.start();
    void tab.client.join(name);
    return tab;
  });
  await clock.until(() => ann.client.joined && bob.client.joined);
  bob.crash();
  await clock.advance(1000);
  assert.deepEqual([ann.client.cursor, feeds()], ["", [null]]);
  server.append({ type: "message", nickname: "x", text: "a" });
  await clock.until(() => ann.client.cursor !== "");
  await clock.advance(1000);
  assert.equal(feeds().length, 2);
  assert.match(String(feeds()[1]), /^e1-/);
  assert.deepEqual([ann.texts, ann.all("snapshot").length], [["a"], 2], "the two parts of the one");
});
