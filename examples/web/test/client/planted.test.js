// What the worlds of `chaos.js` are worth: bugs that were, or could be, are put back into a copy of the client, and found.

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { run } from "./chaos.js";

process.on("unhandledRejection", () => {});

const APP = join(import.meta.dirname, "../../app/cloudchat");
/** Worlds that a bug is given to show itself. */
const WORLDS = 150;

/** @type {[string, string, string, string, string][]} What it is, its transport, its file, what stands there, what instead. */
const PLANTED = [
  ["what a connection left behind a leave waits for ever", "ws", "session.js", 'return this.#giveUp((id) => this.#isUnderWay(id));\n      case "closing"', 'break;\n      case "closing"'],
  ["who was held lost does not notice", "sse", "session.js", "if (ours && this.joined", "if (!ours && this.joined"],
  ["a leave that a join undid counts as done", "ws", "session.js", "if (reply.type === \"ack\" && this.joined && !this.#join", "if (!reply"],
  ["what both feeds say is told twice", "auto", "session.js", "return cursor !== undefined && hasReached", "return cursor === undefined && hasReached"],
  ["a part of a snapshot counts as all of it", "sse", "cursors.js", "return frame.more ? undefined : frame.cursor", "return frame.cursor"],
  ["what is too fast the second time did not happen the first time", "ws", "session.js", "this.#again.add(id)", "this.#again"],
  ["a command is sent again under another id", "poll", "session.js", "out.push({ ...entry.command, id });", "out.push({ ...entry.command, id: entry.command.type === \"say\" ? this.#newId() : id });"],
];

for (const [what, transport, name, right, wrong] of PLANTED) {
  test(`it is found that ${what}`, async () => {
    const place = await mkdtemp(join(tmpdir(), "planted-"));
    try {
      await cp(APP, place, { recursive: true });
      await writeFile(join(place, "package.json"), '{"type":"module"}');
      const text = await readFile(join(place, name), "utf8");
      assert.equal(text.split(right).length, 2, "it has one place");
      await writeFile(join(place, name), text.replace(right, () => wrong));
      const { Client } = await import(pathToFileURL(join(place, "cloudchat.js")).href);
      await (await import(pathToFileURL(join(place, "share.js")).href)).load();
      let found = 0;
      for (let seed = 1; seed <= WORLDS && !found; seed++) await run(seed, transport, Client).catch(() => void (found = seed));
      assert.ok(found);
      if (process.env.CHAOS_SEEN) console.log(found);
    } finally {
      await rm(place, { recursive: true });
    }
  });
}
