import assert from "node:assert/strict";
import { test } from "node:test";
import { EndedError, RefusedError, UncertainError, sessionMemory } from "../../app/cloudchat/cloudchat.js";
import { Browser } from "./browser.js";
import { settle } from "./clock.js";

/** @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));
test.afterEach(async () => {
  await settle();
  assert.deepEqual(unhandled.splice(0), []);
});

/** @param {object} [options] */
async function joined(options = {}, browser = new Browser()) {
  const tab = browser.tab(options);
  tab.client.start();
  await tab.client.join("Ann");
  return { browser, tab, clock: browser.clock, server: browser.server, client: tab.client };
}

for (const transport of /** @type {const} */ (["ws", "sse", "poll"])) {
  for (const locks of [true, false]) {
    const options = { transport, locks };
    const where = `${transport}${locks ? "" : ", without locks"}`;

    test(`what is said comes back, and stands in order (${where})`, async () => {
      const { tab, client, clock } = await joined(options);
      for (const text of ["a", "b", "c"]) tab.say(text);
      await clock.until(() => tab.texts.length === 3);
      assert.deepEqual(tab.texts, ["a", "b", "c"]);
      assert.deepEqual([client.nickname, client.joined, client.transport, client.unanswered], ["Ann", true, transport, []]);
      assert.deepEqual(tab.all("joined_as"), [{ type: "joined_as", nickname: "Ann", resumed: false }]);
      assert.equal(tab.all("answered").length, 3);
    });

    test(`a server that comes back finds the same participant, and what was said meanwhile (${where})`, async () => {
      const { tab, client, clock, server } = await joined(options);
      server.down();
      await settle();
      assert.equal(tab.status.state, "waiting");
      const said = tab.say("a");
      await clock.advance(5000);
      assert.deepEqual(client.unanswered.map(({ type }) => type), ["say"]);
      server.up = true;
      await clock.until(() => tab.texts.length === 1);
      assert.equal((await said).type, "ack");
      assert.deepEqual(tab.all("left"), []);
      assert.equal(tab.all("snapshot").length, 2, "the two parts of the first");
    });

    test(`a command whose answer is lost happens once (${where})`, async () => {
      const { tab, clock, server } = await joined(options);
      server.faults = (what) => (what === "POST commands" || what === "ws frame" ? "unanswered" : "");
      const said = tab.say("a");
      await settle();
      assert.deepEqual(server.log.filter(({ type }) => type === "message").length, 1);
      server.faults = () => "";
      server.drop();
      await clock.until(() => tab.client.joined);
      await said;
      assert.deepEqual(tab.texts, ["a"]);
    });

    test(`a server that accepts and never answers is left (${where})`, async () => {
      const { tab, clock, server } = await joined(options);
      server.faults = (what) => (/GET/.test(what) ? "stuck" : "");
      server.drop();
      await clock.advance(60_000);
      assert.notEqual(tab.status.state, "open");
      server.faults = () => "";
      await clock.until(() => tab.client.joined, 20_000);
    });

    test(`a reload resumes: nickname, place, and what had no answer (${where})`, async () => {
      const { tab, browser, server, clock } = await joined(options);
      server.faults = (what) => (what === "POST commands" || what === "ws frame" ? "unanswered" : "");
      tab.say("a");
      await settle();
      server.faults = () => "";
      tab.hide();
      const next = browser.tab({ ...options, memory: tab.memory, after: tab.client.cursor });
      assert.deepEqual([next.client.wanted, next.client.unanswered.length], ["Ann", 1]);
      next.client.start();
      await clock.until(() => next.client.joined && next.all("answered").length === 1);
      assert.deepEqual([next.client.nickname, next.all("joined_as")[0].resumed, next.all("snapshot")], ["Ann", true, []]);
      assert.deepEqual(server.log.map(({ type }) => type), ["joined", "message"]);
    });

    test(`a server that has forgotten the token makes what was sent uncertain (${where})`, async () => {
      const { tab, clock, server } = await joined(options);
      server.faults = (what) => (what === "POST commands" || what === "ws frame" ? "lost" : "");
      const said = tab.say("a");
      await settle();
      server.tokens.clear();
      server.epoch = "e2";
      server.log = [];
      server.drop();
      server.faults = () => "";
      await clock.until(() => tab.client.joined && tab.all("uncertain").length === 1);
      await assert.rejects(said, UncertainError);
      assert.deepEqual(tab.all("gap").length, 1);
      assert.deepEqual(tab.texts, []);
      await tab.say("b");
      await clock.until(() => tab.texts.length === 1);
    });

    test(`closed, it gives the nickname back and leaves nothing behind (${where})`, async () => {
      const { tab, clock, server, client } = await joined(options);
      server.faults = (what) => (what === "ws frame" ? "stuck" : "");
      const waiting = tab.say("a");
      client.close();
      await assert.rejects(waiting, EndedError);
      await assert.rejects(client.join("Eve"), EndedError);
      await settle();
      if (transport === "ws") assert.ok(server.requests.some(({ what }) => what === "close 1000"));
      else assert.deepEqual(server.log.map(({ type }) => type), ["joined", "message", "left"], "what was asked for stands before it");
      assert.deepEqual([clock.pending, server.feeds.size], [0, 0]);
      assert.deepEqual([client.wanted, client.unanswered], ["", []]);
    });
  }
}

test("a taken nickname is refused with suggestions, and another one can be had", async () => {
  const { browser, server } = await joined();
  const other = browser.tab();
  other.client.start();
  await assert.rejects(other.client.join("Ann"), (error) => {
    assert(error instanceof RefusedError);
    assert.deepEqual([error.code, error.suggestions], ["nickname_taken", ["Ann2"]]);
    return true;
  });
  assert.deepEqual([other.client.wanted, other.all("nickname_lost")], ["", []]);
  await other.client.join("Ann2");
  await other.client.join("Eve");
  assert.deepEqual(server.log.map(({ type, nickname }) => [type, nickname]), [["joined", "Ann"], ["joined", "Ann2"], ["left", "Ann2"], ["joined", "Eve"]]);
});

test("a nickname that is gone after a reconnect is said, and what was not said yet is refused at once", async () => {
  const { tab, clock, server, client } = await joined();
  server.down();
  const said = tab.say("a");
  const [scope] = server.tokens.values();
  scope.nickname = "";
  server.tokens.set("other", { answers: new Map(), nickname: "Ann" });
  server.up = true;
  await clock.until(() => tab.all("nickname_lost").length === 1);
  assert.equal(tab.all("nickname_lost")[0].refusal.code, "nickname_taken");
  assert.equal(client.nickname, "");
  await assert.rejects(tab.say("b"), { code: "not_joined" });
  await assert.rejects(said, { code: "not_joined" });
  await client.join("Eve");
  await tab.say("c");
  assert.deepEqual(server.log.filter(({ text }) => text).map(({ text, nickname }) => [text, nickname]), [["c", "Eve"]]);
});

test("who leaves goes on following, and may come back", async () => {
  const { tab, client, clock, browser } = await joined();
  await client.leave();
  assert.deepEqual([client.joined, client.nickname, client.wanted], [false, "", ""]);
  await assert.rejects(client.leave(), { code: "not_joined" });
  const other = browser.tab();
  other.client.start();
  await other.client.join("Eve");
  other.say("a");
  await clock.until(() => tab.texts.length === 1);
  await client.join("Ann");
});

test("a duplicated tab becomes somebody else", async () => {
  const { tab, browser, clock, server } = await joined();
  server.down();
  tab.say("a");
  await settle();
  const values = new Map();
  const { memory } = tab;
  const copied = { get: (/** @type {string} */ key) => values.get(key) ?? memory.get(key), set: (/** @type {string} */ key, /** @type {string} */ value) => void values.set(key, value), delete: (/** @type {string} */ key) => void values.set(key, "") };
  const copy = browser.tab({ memory: copied });
  copy.client.start();
  server.up = true;
  await clock.until(() => copy.all("nickname_lost").length === 1 && copy.status?.state === "open");
  assert.deepEqual([copy.client.wanted, copy.client.unanswered], ["", []]);
  await copy.client.join("Eve");
  await clock.until(() => tab.client.joined && !tab.client.unanswered.length);
  assert.deepEqual([server.tokens.size, server.log.filter(({ text }) => text === "a").length], [2, 1]);
  const again = browser.tab({ memory: copied });
  again.client.start();
  await clock.until(() => again.all("nickname_lost").length === 1);
});

test("a reload is not kept waiting", async () => {
  const { tab, browser } = await joined();
  tab.hide();
  const next = browser.tab({ memory: tab.memory });
  next.client.start();
  await settle();
  assert.equal(next.client.joined, true);
});

test("a page over HTTP says that it goes away, and comes back from the cache of pages", async () => {
  for (const transport of ["sse", "poll"]) {
    const { tab, server, clock } = await joined({ transport });
    tab.events.dispatchEvent(new Event("pagehide"));
    await settle();
    const said = server.requests.filter(({ body }) => body?.[0].type === "away");
    const join = server.requests.find(({ body }) => body?.[0].type === "join");
    assert.deepEqual(said.map(({ body, tokens }) => [body.length, body[0].join, tokens]), [[1, join?.body[0].id, join?.tokens]]);
    assert.equal(server.feeds.size, 0);
    tab.events.dispatchEvent(new Event("pageshow"));
    await clock.until(() => tab.client.joined);
  }
});

test("a page over HTTP that goes while it joins says so of that join, too: the server may have heard it", async () => {
  for (const transport of ["sse", "poll"]) {
    const { tab, server } = await joined({ transport });
    server.faults = (what) => (what === "POST commands" ? "stuck" : "");
    void tab.client.join("Anna");
    await settle();
    tab.events.dispatchEvent(new Event("pagehide"));
    await settle();
    const posted = server.requests.flatMap(({ body }) => body ?? []);
    const joins = posted.filter(({ type }) => type === "join").map(({ id }) => id);
    assert.equal(joins.length, 2);
    assert.deepEqual(posted.filter(({ type }) => type === "away").map(({ join }) => join), joins);
  }
});

test("a WebSocket is left to the browser when the page goes: nobody else can say 1001", async () => {
  const { tab, server } = await joined({ transport: "ws" });
  tab.events.dispatchEvent(new Event("pagehide"));
  await settle();
  assert.deepEqual(server.requests.filter(({ what }) => what !== "GET ws"), []);
  assert.equal(server.feeds.size, 1);
});

test("closed while it joins, it is not left in the chat", async () => {
  const { server, tab } = await joined({ transport: "sse" });
  const { fetch } = tab.platform;
  const other = tab.browser.tab({ transport: "sse" });
  other.platform.fetch = async (url, init) => {
    const response = await fetch(url, init);
    if (JSON.stringify(init.body ?? "").includes("leave")) return response;
    return init.body ? await new Promise(() => {}) : response;
  };
  other.client.start();
  void other.client.join("Eve");
  await settle();
  other.client.close();
  await settle();
  assert.deepEqual(server.log.map(({ type, nickname }) => [type, nickname]), [["joined", "Ann"], ["joined", "Eve"], ["left", "Eve"]]);
});

test("one request with commands is under way at a time", async () => {
  const { tab, server, clock } = await joined({ transport: "sse" });
  const before = server.requests.length;
  tab.say("a");
  await Promise.resolve();
  tab.say("b");
  tab.say("c");
  await clock.until(() => tab.texts.length === 3);
  assert.deepEqual(server.requests.slice(before).map(({ body }) => body.map((/** @type {any} */ one) => one.text)), [["a"], ["b", "c"]]);
});

test("a problem that answers a request is the answer to each of its commands", async () => {
  const { tab, server, client } = await joined({ transport: "sse" });
  const { fetch } = tab.platform;
  tab.platform.fetch = async (url, init) =>
    init.body ? new Response('{"code":"too_large","detail":"no"}', { status: 413 }) : fetch(url, init);
  const both = [tab.say("a"), tab.say("b")];
  for (const one of both) await assert.rejects(one, { code: "too_large", detail: "no" });
  tab.platform.fetch = async (url, init) =>
    init.body ? new Response('{"code":"rate_limited","detail":"no","retry_after":2}', { status: 429 }) : fetch(url, init);
  await assert.rejects(tab.say("c"), { code: "rate_limited", retryAfter: 2 });
  assert.deepEqual([client.joined, tab.status.state, server.feeds.size], [true, "open", 1]);
});

test("what is no answer to commands ends the connection, and they are sent again", async () => {
  for (const answer of [() => new Response("<html>", { status: 502 }), () => new Response("[]"), () => new Response("[1]"), () => new Response("oops")]) {
    const { tab, clock } = await joined({ transport: "sse" });
    const { fetch } = tab.platform;
    tab.platform.fetch = async (url, init) => (init.body ? answer() : fetch(url, init));
    const said = tab.say("a");
    await settle();
    assert.equal(tab.status.state, "waiting");
    tab.platform.fetch = fetch;
    await clock.until(() => tab.texts.length === 1);
    await said;
  }
});

test("a token that a stream or a poll does not know is joined anew", async () => {
  for (const transport of ["sse", "poll"]) {
    const { tab, server, clock } = await joined({ transport });
    server.tokens.clear();
    server.drop();
    await clock.until(() => tab.client.joined);
    await tab.say("a");
    const feeds = server.requests.filter(({ what, tokens }) => what === `GET ${transport}` && tokens.length);
    assert.ok(feeds.length, "it was named first");
  }
});

test("auto falls back, remembers what worked, and comes back to the better one", async () => {
  const browser = new Browser();
  browser.server.offered = new Set(["poll"]);
  const { tab, server, clock } = await joined({}, browser);
  assert.equal(tab.client.transport, "poll");
  tab.hide();
  const next = browser.tab({ memory: tab.memory, after: tab.client.cursor });
  const before = server.requests.length;
  next.client.start();
  await clock.until(() => next.client.joined);
  assert.equal(server.requests[before].what, "GET poll");
  server.offered.add("ws");
  await clock.until(() => next.client.transport === "ws" && next.client.joined, 40_000);
  await next.say("a");
  await clock.until(() => next.texts.length === 1);
  assert.deepEqual(server.log.map(({ type }) => type), ["joined", "message"], "nobody saw it");
  assert.deepEqual(next.all("status").map(({ state }) => state).filter((state) => state === "waiting"), []);
});

test("the server's clock is known by what it says", async () => {
  const { client, server, clock, tab } = await joined();
  server.feeds.forEach((feed) => feed.push({ type: "heartbeat", cursor: server.cursor, at: new Date(clock.now + 5000).toISOString() }));
  await settle();
  assert.equal(client.skew, 5000);
  assert.deepEqual(tab.all("heartbeat"), [], "what is known is not told again");
});

test("kicked is the end", async () => {
  const { tab, client, server } = await joined();
  server.refuse = () => ({ code: "unavailable" });
  const held = tab.say("b");
  await settle();
  for (const feed of server.feeds) feed.end(4501);
  await assert.rejects(held, { name: "EndedError", closeCode: 4501 });
  assert.equal(tab.status.state, "ended");
  await assert.rejects(client.execute({ type: "ping" }), EndedError);
});

test("a listener that fails costs the others nothing, and is reported", async () => {
  const browser = new Browser();
  const tab = browser.tab();
  tab.client.subscribe(() => {
    throw new Error("a bug");
  });
  const heard = [];
  const quiet = tab.client.subscribe((item) => heard.push(item));
  tab.client.start();
  await settle();
  assert.ok(heard.length);
  await assert.rejects(browser.clock.advance(0), /a bug/);
  quiet();
});

test("history is read in pages, and says what is wrong", async () => {
  const { tab, client } = await joined();
  /** @type {string[]} */
  const asked = [];
  let answer = () => new Response('{"items":[],"next":null}');
  tab.platform.fetch = async (url) => {
    asked.push(url);
    return answer();
  };
  assert.deepEqual(await client.history("worklog", { before: "e1-3", limit: 10 }), { items: [], next: null });
  assert.deepEqual(asked, ["http://chat.test/v1/worklog?before=e1-3&limit=10"]);
  answer = () => new Response('{"code":"gone","detail":"x"}', { status: 410 });
  await assert.rejects(client.history("messages"), { name: "RefusedError", code: "gone" });
  answer = () => {
    throw new DOMException("x", "AbortError");
  };
  await assert.rejects(client.history("messages"), TypeError);
});

test("the server's address is a directory, wherever it is", async () => {
  for (const [server, url] of [["http://a.test", "ws://a.test/v1/ws"], ["https://a.test/x?y#z", "wss://a.test/x/v1/ws"]]) {
    const tab = new Browser().tab({ server });
    tab.client.start();
    await settle();
    assert.equal(tab.browser.server.requests[0].url.href, url);
  }
});

test("where there is no room, nothing stale is kept", () => {
  const values = new Map([["a", "1"]]);
  const memory = sessionMemory(/** @type {any} */ ({
    getItem: (/** @type {string} */ key) => values.get(key) ?? null,
    setItem: () => {
      throw new DOMException("full", "QuotaExceededError");
    },
    removeItem: (/** @type {string} */ key) => values.delete(key),
  }));
  memory.set("a", "2");
  assert.equal(memory.get("a"), null);
});

test("a server that is not of the page's site may not let it in, which looks as if it were away", async () => {
  for (const [origin, why] of [["http://pages.test", "barred"], ["http://chat.test", "unreachable"], ["", "unreachable"]]) {
    const tab = new Browser().tab({ origin });
    tab.browser.server.up = false;
    tab.client.start();
    await settle();
    assert.deepEqual([tab.status.state, tab.status.why], ["waiting", why]);
  }
});
