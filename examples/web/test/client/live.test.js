// Against the real server. Its command is `CLOUDCHAT`, or `cloudchat` on the PATH.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { Client, volatileMemory } from "../../app/cloudchat/cloudchat.js";

const COMMAND = process.env.CLOUDCHAT ?? "cloudchat";
const TRANSPORTS = /** @type {const} */ (["ws", "sse", "poll"]);

/** @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));

/** @type {Set<import("node:child_process").ChildProcess>} */
const servers = new Set();
after(() => {
  for (const server of servers) server.kill("SIGKILL");
  assert.deepEqual(unhandled, []);
});

/** For a server that comes back on its port: one that the system gives to nobody who asks for any. */
const fixedPort = () => String(20_000 + Math.floor(Math.random() * 12_000));

/**
 * @param {{log?: string, port?: string, more?: string[]}} [options]
 * @returns {Promise<{url: string, kill: () => Promise<void>}>}
 */
function serve({ log = "memory:", port = "0", more = [] } = {}) {
  const args = ["serve", "--port", port, "--log", log, "--provider", "simulated:?duration=0.2", ...more];
  const server = spawn(COMMAND, args, { stdio: ["ignore", "pipe", "pipe"] });
  servers.add(server);
  const ended = new Promise((resolve) => void server.once("exit", resolve));
  return new Promise((resolve, reject) => {
    let said = "";
    server.once("error", (error) => reject(new Error(`the server cannot be started: set CLOUDCHAT to its command (${error})`)));
    server.once("exit", (code) => reject(new Error(`the server has ended (${code}): ${said}`)));
    for (const stream of [server.stdout, server.stderr]) {
      stream.on("data", (data) => {
        said += data;
        const found = /serves at (http:\/\/127\.0\.0\.1:\d+)/.exec(said);
        if (!found) return;
        const kill = async () => {
          server.kill("SIGKILL");
          await ended;
          servers.delete(server);
        };
        resolve({ url: found[1], kill });
      });
    }
  });
}

/**
 * @param {any} options
 */
function follow(options) {
  /** @type {any[]} */
  const items = [];
  /** @type {Set<() => void>} */
  const waiting = new Set();
  const client = new Client(options);
  client.subscribe((item) => {
    items.push(item);
    for (const look of [...waiting]) look();
  });
  client.start();
  return {
    client,
    items,
    /** @param {string} type */ all: (type) => items.filter((item) => item.type === type),
    get texts() {
      return items.filter(({ type }) => type === "message").map(({ text }) => text);
    },
    /**
     * @param {() => boolean} fact
     * @returns {Promise<void>}
     */
    until: (fact) =>
      new Promise((resolve) => {
        const look = () => {
          if (!fact()) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

/**
 * A client whose page ends without a word.
 * @param {any} options
 */
function page(options) {
  const events = new EventTarget();
  let gone = false;
  /** @type {Set<WebSocket>} */
  const sockets = new Set();
  const platform = {
    fetch: (/** @type {string} */ url, /** @type {RequestInit} */ init) => fetch(url, init),
    WebSocket: class extends WebSocket {
      /** @param {string} url @param {string} protocols */
      constructor(url, protocols) {
        super(url, protocols);
        sockets.add(this);
      }
    },
    /** @type {(callback: () => void, ms: number) => unknown} */
    setTimeout: (callback, ms) => (gone ? 0 : setTimeout(callback, ms)),
    clearTimeout,
    now: () => Date.now(),
    random: () => Math.random(),
    getRandomValues: (/** @type {Uint8Array<ArrayBuffer>} */ bytes) => crypto.getRandomValues(bytes),
    locks: undefined,
    BroadcastChannel: undefined,
    events,
    document: undefined,
    online: () => true,
  };
  const hide = () => {
    events.dispatchEvent(new Event("pagehide"));
    // A browser does the rest.
    gone = true;
    for (const socket of sockets) socket.close();
  };
  return { ...follow({ ...options, platform }), hide };
}

for (const transport of TRANSPORTS) {
  test(`joins, speaks and creates over ${transport}`, { timeout: 60_000 }, async () => {
    const server = await serve();
    const ann = follow({ server: server.url, transport });
    const bob = follow({ server: server.url, transport });
    assert.deepEqual((await ann.client.join("Ann")).nickname, "Ann");
    await bob.client.join("Bob");
    await assert.rejects(bob.client.join("Ann"), (/** @type {any} */ error) => {
      assert.equal(error.code, "nickname_taken");
      assert.ok(error.suggestions.length);
      return true;
    });
    assert.equal(bob.client.nickname, "Bob", "the one that it has stays");
    await ann.client.execute({ type: "say", text: "Привет 🙂", id: "mine" });
    await bob.until(() => bob.texts.length === 1);
    const [message] = bob.all("message");
    assert.deepEqual([message.nickname, message.text, message.ref], ["Ann", "Привет 🙂", "mine"]);
    const ack = await bob.client.execute({ type: "create", name: "web" });
    await ann.until(() => ann.all("created").length === 1);
    assert.equal(ann.all("created")[0].instance.id, ack.instance?.id);
    assert.equal(ann.all("received")[0].by, "Bob");
    const { items } = await ann.client.history("worklog", { limit: 10 });
    assert.deepEqual(items.map(({ type }) => type), ["created", "received"]);
    await assert.rejects(ann.client.history("messages", { before: "zz-5" }), { code: "gone" });
    assert.ok(Math.abs(ann.client.skew) < 60_000);
    assert.equal(ann.client.transport, transport);
    ann.client.close();
    await bob.until(() => bob.all("left").length === 1);
    assert.equal(bob.all("left")[0].reason, "left");
    bob.client.close();
    await server.kill();
  });

  test(`a server killed with commands in flight loses and doubles nothing over ${transport}`, { timeout: 120_000 }, async () => {
    const place = await mkdtemp(join(tmpdir(), "cloudchat-"));
    const log = `sqlite:${join(place, "log.sqlite")}`;
    // However long a start takes on a busy machine, nobody is to be held for gone.
    const more = ["--grace", "60"];
    const port = fixedPort();
    let server = await serve({ log, port, more });
    const { url } = server;
    const ann = follow({ server: url, transport });
    const bob = follow({ server: url, transport: "ws" });
    await Promise.all([ann.client.join("Ann"), bob.client.join("Bob")]);
    /** @type {string[]} */
    const said = [];
    /** @type {Promise<unknown>[]} */
    const answers = [];
    const say = () => {
      said.push(`m${said.length}`);
      answers.push(ann.client.execute({ type: "say", text: said[said.length - 1] }));
    };
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 10; n++) say();
      await answers[answers.length - 5];
      for (let n = 0; n < 10; n++) say();
      await server.kill();
      for (let n = 0; n < 5; n++) say();
      server = await serve({ log, port, more });
    }
    await Promise.all(answers);
    await bob.until(() => bob.texts.length === said.length);
    await ann.until(() => ann.texts.length === said.length);
    assert.deepEqual(bob.texts, said);
    assert.deepEqual(ann.texts, said);
    assert.deepEqual([ann.all("left"), ann.all("uncertain"), ann.all("gap"), bob.all("gap")], [[], [], [], []]);
    assert.ok(ann.all("joined_as").slice(1).every(({ nickname, resumed }) => nickname === "Ann" && resumed));
    ann.client.close();
    bob.client.close();
    await server.kill();
    await rm(place, { recursive: true });
  });

  test(`a reload keeps the nickname and the place over ${transport}`, { timeout: 60_000 }, async () => {
    const server = await serve();
    const memory = volatileMemory();
    const bob = follow({ server: server.url, transport: "ws" });
    const before = page({ server: server.url, transport, memory });
    await before.client.join("Ann");
    await bob.client.join("Bob");
    await before.until(() => before.all("joined").length + (before.all("snapshot")[0].participants?.length ?? 0) === 2);
    const { cursor } = before.client;
    before.hide();
    const again = page({ server: server.url, transport, memory, after: cursor });
    assert.equal(again.client.wanted, "Ann");
    await again.until(() => again.client.joined);
    await again.client.execute({ type: "say", text: "back" });
    await bob.until(() => bob.texts.length === 1);
    assert.deepEqual([again.all("snapshot"), bob.all("left"), again.client.nickname], [[], [], "Ann"]);
    again.client.close();
    bob.client.close();
    await server.kill();
  });
}

test("auto goes on where WebSocket is switched off", { timeout: 60_000 }, async () => {
  const server = await serve({ more: ["--transport", "poll"] });
  const ann = follow({ server: server.url });
  await ann.client.join("Ann");
  assert.equal(ann.client.transport, "poll");
  ann.client.close();
  await server.kill();
});

test("a server that was told nothing of a token makes what was sent to another uncertain", { timeout: 60_000 }, async () => {
  const port = fixedPort();
  let server = await serve({ port });
  const ann = follow({ server: server.url, transport: "ws" });
  await ann.client.join("Ann");
  // Sent, and not answered: the server is gone before this turn is over.
  const said = ann.client.execute({ type: "say", text: "a" });
  const outcome = said.then(() => "ack", (error) => error.name);
  await Promise.resolve();
  await server.kill();
  const known = ann.client.unanswered.length;
  server = await serve({ port });
  await ann.until(() => ann.client.joined && ann.all("joined_as").length === 2);
  assert.equal(await outcome, known ? "UncertainError" : "ack");
  assert.equal(ann.all("uncertain").length, known);
  assert.equal(ann.all("gap").length, 1);
  ann.client.close();
  await server.kill();
});
