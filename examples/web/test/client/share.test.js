// In a process of its own, where nothing has loaded yet how feeds are shared.

import assert from "node:assert/strict";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { share } from "../../app/cloudchat/share.js";

/** A feed that is asked for; what it takes to share it would be there. */
function asked() {
  let tell = () => {};
  /** @type {Promise<void>} */
  const locked = new Promise((resolve) => {
    tell = resolve;
  });
  /** @type {string[]} */
  const names = [];
  const platform = /** @type {any} */ ({
    locks: {
      request: (/** @type {string} */ name) => {
        names.push(name);
        tell();
        return new Promise(() => {});
      },
    },
    BroadcastChannel: class {
      postMessage() {}
      close() {}
    },
    setTimeout: () => 1,
    clearTimeout() {},
    now: () => 0,
    getRandomValues: (/** @type {Uint8Array} */ bytes) => bytes,
  });
  const way = { base: new URL("http://chat.test/"), topics: [], platform };
  const open = share("sse", () => assert.fail("it has none of its own"), way);
  return { feed: open("", "t", false, { frame() {}, end() {} }), locked, names };
}

test("how feeds are shared is loaded with the first one, and one that is closed before opens nothing", async () => {
  const closed = asked();
  closed.feed.close();
  const { feed, locked, names } = asked();
  assert.deepEqual([names, feed.shared], [[], false]);
  await locked;
  assert.ok(names.length);
  assert.deepEqual(closed.names, []);
  feed.close();
  assert.ok(asked().names.length, "the next one has it there");
});

test("where that cannot be had, each tab has a feed of its own", async () => {
  const place = await mkdtemp(join(tmpdir(), "share-"));
  try {
    await cp(join(import.meta.dirname, "../../app/cloudchat"), place, { recursive: true });
    await writeFile(join(place, "package.json"), '{"type":"module"}');
    await rm(join(place, "sharing.js"));
    const lone = await import(pathToFileURL(join(place, "share.js")).href);
    /** @type {string} */
    const after = await new Promise((resolve) => {
      const open = lone.share("sse", resolve, { base: new URL("http://chat.test/"), topics: [], platform: { locks: {}, BroadcastChannel: {} } });
      open("e1-5", "t", false, {});
    });
    assert.equal(after, "e1-5");
  } finally {
    await rm(place, { recursive: true });
  }
});
