import assert from "node:assert/strict";
import { test } from "node:test";

import { EndedError } from "../../app/cloudchat/cloudchat.js";
import en from "../../app/i18n/en.js";
import ru from "../../app/i18n/ru.js";
import { actionsOf } from "../../app/store/instances.js";
import { Store } from "../../app/store/store.js";
import { FakeClient, inChat, message, moment, randomFrom, Storage, World } from "./world.js";

const own = { nickname: "Alexandra" };
const empty = () => new World(randomFrom(1)).snapshot();

test("what we say is pending until the feed shows it, and is ours then", () => {
  const { store, client } = inChat();
  store.say("Hello");
  const [command] = client.sent;
  assert.equal(store.unsent.get(command.id)?.state, "pending");
  client.say(message(7, { ...own, text: "Hello", ref: command.id }));
  assert.equal(store.unsent.size, 0);
  assert.ok(store.isOwn(message(7)));
});

test("an answer that comes before the event leaves the message pending, one that comes after takes nothing", () => {
  const { store, client } = inChat();
  store.say("first");
  const [command] = client.sent;
  client.answer(command, { type: "ack", cursor: "e-7" });
  assert.equal(store.unsent.get(command.id)?.state, "pending");
  client.say(message(7, { ...own, ref: command.id }));
  assert.equal(store.unsent.size, 0);
  client.answer(command, { type: "ack", cursor: "e-7" });
  assert.equal(store.unsent.size, 0);
});

test("a message with our ref from another is not ours", () => {
  const { store, client } = inChat();
  store.say("Hello");
  client.say(message(7, { ref: client.sent[0].id }));
  assert.equal(store.unsent.size, 1);
  assert.ok(!store.isOwn(message(7)));
});

test("our nickname alone makes a message not ours: somebody else may have had it", () => {
  const { store, client } = inChat();
  client.say(message(7, own));
  assert.ok(!store.isOwn(message(7)));
});

test("an accepted message goes with the next snapshot, which has it or stands after it", () => {
  const { store, client } = inChat();
  store.say("Hello");
  store.say("not yet");
  client.answer(client.sent[0], { type: "ack", cursor: "e-7" });
  client.say({ ...empty(), cursor: "e-90", messages: [message(90)] });
  assert.deepEqual([...store.unsent.keys()], [client.sent[1].id]);
});

test("a refused message stays with the reason; tried again it is a new command, discarded it is gone", () => {
  const { store, client } = inChat();
  store.say("Hello");
  client.answer(client.sent[0], { type: "error", code: "rate_limited", detail: "slowly" });
  const failed = store.unsent.get(client.sent[0].id);
  assert.equal(failed?.state, "failed");
  assert.equal(failed?.trouble?.code, "rate_limited");
  store.retry(client.sent[0].id);
  assert.deepEqual([...store.unsent.keys()], [client.sent[1].id]);
  store.discard(client.sent[1].id);
  assert.equal(store.unsent.size, 0);
});

test("a message whose outcome is lost is uncertain, not failed", async () => {
  const { store, client } = inChat();
  store.say("one");
  store.say("two");
  client.say({ type: "uncertain", command: client.sent[0] });
  client.giveUp(client.sent[1], new EndedError());
  await Promise.resolve();
  await Promise.resolve();
  assert.deepEqual([...store.unsent.values()].map(({ state }) => state), ["uncertain", "uncertain"]);
});

test("unread is what others say while nobody looks", () => {
  const { store, client } = inChat();
  client.say(message(1));
  store.look(false);
  store.say("Hello");
  client.say(message(2, { ...own, ref: client.sent[0].id }));
  client.say(message(3));
  client.say(message(4));
  assert.equal(store.unread, 2);
  store.look(true);
  assert.equal(store.unread, 0);
});

test("watchers are told once a turn, with what was touched", () => {
  const { store, client, turn } = inChat();
  /** @type {unknown[]} */
  const told = [];
  store.watch(["messages"], (changes) => told.push(changes.get("messages")));
  turn();
  assert.deepEqual(told.splice(0), [null], "to begin with, of everything");
  client.say(message(1));
  client.say(message(2));
  assert.deepEqual(told, []);
  turn();
  assert.deepEqual(told, [new Set(["e-1", "e-2"])]);
  client.say({ ...empty(), cursor: "e-3" });
  client.say(message(4));
  turn();
  assert.deepEqual(told[1], null, "a snapshot is everything, whatever comes after it in the same turn");
});

test("a watcher that fails is reported, and the others are told all the same", () => {
  const { store, turn } = inChat();
  /** @type {unknown[]} */
  const told = [];
  globalThis.reportError = (error) => void told.push(error);
  store.watch(["messages"], () => {
    throw new TypeError("a bug");
  });
  store.watch(["messages"], () => void told.push("told"));
  turn();
  assert.deepEqual(told.map(String), ["TypeError: a bug", "told"]);
});

test("older history is loaded page by page to its end", async () => {
  const { store, client } = inChat();
  client.say({ ...empty(), cursor: "e-9", messages: [message(8), message(9)] });
  const loading = store.older("messages");
  assert.equal(store.past.messages.state, "loading");
  await store.older("messages");
  assert.deepEqual(client.asked.map(({ before }) => before), ["e-8"], "one page at a time");
  client.asked[0].answer({ items: [message(7), message(5)], next: "e-4" });
  await loading;
  assert.equal(store.past.messages.state, "more");
  const rest = store.older("messages");
  assert.equal(client.asked[1].before, "e-4");
  client.asked[1].answer({ items: [message(2)], next: null });
  await rest;
  assert.equal(store.past.messages.state, "end");
  assert.deepEqual([...store.messages.keys()], ["e-2", "e-5", "e-7", "e-8", "e-9"]);
});

test("a page from before a snapshot is dropped, and one that cannot be had says why", async () => {
  const { store, client } = inChat();
  client.say({ ...empty(), cursor: "e-9", messages: [message(9)] });
  const late = store.older("messages");
  client.say({ ...empty(), cursor: "f-3", messages: [message(3, { cursor: "f-3" })] });
  client.asked[0].answer({ items: [message(8)], next: null });
  await late;
  assert.deepEqual([...store.messages.keys()], ["f-3"]);
  const lost = store.older("messages");
  client.asked[1].fail(new TypeError("no network"));
  await lost;
  assert.equal(store.past.messages.state, "unreachable");
  const gone = store.older("messages");
  client.asked[2].fail(Object.assign(new Error("gone"), { code: "gone" }));
  await gone;
  assert.equal(store.past.messages.state, "gone");
});

test("a refused command is explained at its instance, until something else happens to it", async () => {
  const { store, client } = inChat();
  client.say({ ...empty(), cursor: "e-1", instances: [{ id: "i", state: "stopped" }] });
  const asking = store.operate("start", "i");
  assert.equal(store.card("i").asked, "start");
  await store.operate("start", "i");
  assert.equal(client.sent.length, 1, "no second one while the first is on its way");
  client.answer(client.sent[0], { type: "error", code: "quota_exceeded", detail: "no room" });
  await asking;
  assert.equal(store.card("i").trouble?.code, "quota_exceeded");
  assert.equal(store.card("i").asked, undefined);
  const operation = { id: "o", command: /** @type {const} */ ("start"), received_at: moment(2) };
  const instance = { id: "i", state: /** @type {const} */ ("stopped") };
  client.say({ type: "received", cursor: "e-2", at: moment(2), command: "start", instance, operation, by: null });
  assert.equal(store.card("i").trouble, undefined);
  assert.equal(store.card("i").operation?.id, "o");
});

test("after a reload all is as it was, and the feed goes on from the cursor", () => {
  const storage = new Storage();
  const world = new World(randomFrom(3));
  const { store, client } = inChat();
  client.say(world.snapshot());
  for (let step = 0; step < 200; step += 1) client.say(world.step());
  store.say("mine");
  world.offset += 1;
  client.say(message(world.offset, { ...own, ref: client.sent[0].id }));
  store.say("on its way");
  store.draft = "half a sent";
  store.reading = "e-3";
  store.save(storage, "key");

  const again = new Store(() => {});
  again.restore(storage, "key");
  const reloaded = new FakeClient();
  reloaded.unanswered = [client.sent[1]];
  again.connect(reloaded);
  assert.equal(again.cursor, store.cursor);
  for (const list of /** @type {const} */ (["participants", "messages", "worklog", "unsent"]))
    assert.deepEqual([...again[list]], [...store[list]], list);
  /** @param {Store} one */
  const instances = (one) => [...one.cards].flatMap((id) => one.card(id).instance ?? []);
  assert.deepEqual(instances(again), instances(store));
  assert.ok(again.isOwn(message(world.offset)));
  assert.equal(again.draft, "half a sent");
  assert.equal(again.reading, "e-3");
});

test("what the client still has to send is pending after a reload, also where nothing was saved", () => {
  const store = new Store(() => {});
  const client = new FakeClient();
  client.unanswered = [{ type: "say", id: "c9", text: "Hello" }];
  store.restore(new Storage(), "key");
  store.connect(client);
  assert.equal(store.unsent.get("c9")?.state, "pending");
});

test("a tab that is a copy owns nothing of the original", () => {
  const storage = new Storage();
  const { store, client } = inChat();
  store.say("Hello");
  client.say(message(1, { ...own, ref: client.sent[0].id }));
  store.say("pending");
  store.save(storage, "key");
  /** @type {(() => void)[]} */
  const frames = [];
  const copy = new Store((run) => frames.push(run));
  copy.restore(storage, "key");
  const renewed = new FakeClient();
  renewed.unanswered = [client.sent[1]];
  copy.connect(renewed);
  /** @type {unknown[]} */
  const told = [];
  copy.watch(["messages"], (changes) => told.push(changes.get("messages")));
  frames.pop()?.();
  renewed.say({ type: "nickname_lost", refusal: { type: "error", id: null, code: "duplicated", detail: "" } });
  assert.ok(!copy.isOwn(message(1)));
  assert.equal(copy.unsent.size, 0);
  assert.ok(copy.me.asking, "it needs a nickname of its own");
  frames.pop()?.();
  assert.deepEqual(told, [null, new Set([message(1).cursor])], "the list stays where it is");
});

test("where there is little room the newest part is saved, and where there is none nothing stays", () => {
  const { store, client } = inChat();
  for (let offset = 1; offset <= 400; offset += 1) client.say(message(offset));
  const small = new Storage(30_000);
  store.save(small, "key");
  const again = new Store(() => {});
  again.restore(small, "key");
  assert.equal(again.cursor, "e-400");
  assert.equal(again.messages.size, 200);
  const none = new Storage(10);
  store.save(none, "key");
  assert.equal(none.getItem("key"), null);
});

for (const [what, text] of Object.entries({
  garbage: "{]",
  "another version": JSON.stringify({ version: 99, cursor: "e-1" }),
  "a list that is none": JSON.stringify({ version: 1, cursor: "e-1", participants: {} }),
  "a number": "7",
  "entries without what is shown": JSON.stringify({
    version: 1, cursor: "e-1", draft: "", reading: "", participants: [], messages: [{ cursor: 5 }], instances: [],
    operations: [], worklog: [], unsent: [], own: [], loss: null,
  }),
  "a cursor that no server takes": JSON.stringify({
    version: 1, cursor: "e".repeat(129), draft: "", reading: "", participants: [], messages: [], instances: [],
    operations: [], worklog: [], unsent: [], own: [], loss: null,
  }),
}))
  test(`${what} in the storage is as good as nothing`, () => {
    const storage = new Storage();
    storage.setItem("key", text);
    const store = new Store(() => {});
    store.restore(storage, "key");
    assert.equal(store.cursor, "");
    assert.equal(store.messages.size, 0);
  });

test("what is asked while the connection is away is said to wait, and what is asked over an open one is not", async () => {
  const { store, client, turn } = inChat();
  const status = (/** @type {"open" | "waiting"} */ state) => client.say({ ...store.status, state });
  client.say({ ...empty(), cursor: "e-1", instances: [{ id: "i", state: "stopped" }, { id: "j", state: "stopped" }] });
  status("open");
  const asking = store.operate("start", "i");
  assert.equal(store.card("i").waiting, false);
  /** @type {unknown[]} */
  const told = [];
  store.watch(["instances"], (changes) => void told.push(changes.get("instances")));
  turn();
  told.length = 0;
  status("waiting");
  turn();
  assert.deepEqual([told, store.card("i").waiting, store.card("j").waiting], [[new Set(["i"])], true, false]);
  status("open");
  assert.equal(store.card("i").waiting, false);
  client.answer(client.sent[0], { type: "error", code: "quota_exceeded", detail: "no room" });
  await asking;
});

test("an instance state that this page does not know offers nothing to do", () => {
  assert.deepEqual(["running", "stopped"].map(actionsOf), [["stop", "remove"], ["start", "remove"]]);
  assert.deepEqual(["paused", "constructor", ""].map(actionsOf), [undefined, undefined, undefined]);
});

test("every language has the words of every other, but for plural forms", () => {
  const plain = (/** @type {object} */ texts) => Object.keys(texts).map((key) => key.replace(/\.(one|few|many|other)$/, "")).sort();
  assert.deepEqual([...new Set(plain(ru))], [...new Set(plain(en))]);
});
