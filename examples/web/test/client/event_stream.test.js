import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser } from "../../app/cloudchat/event_stream.js";
import { generator } from "./clock.js";

/** @param {string} text */
const bytes = (text) => new TextEncoder().encode(text);

/** @param {...Uint8Array} pieces */
function parse(...pieces) {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.feed(piece));
}

/** @param {string} text */
const all = (text) => parse(bytes(text)).map(({ type, data, lastId }) => [type, data, lastId]);

test("lines end with LF, CR or CRLF", () => {
  for (const end of ["\n", "\r", "\r\n"]) {
    const text = ["event: a", "data: 1", "data: 2", "id: x", "", "data:3", "", ""].join(end);
    assert.deepEqual(all(text), [["a", "1\n2", "x"], ["message", "3", "x"]]);
  }
});

test("a byte order mark at the beginning is skipped, and nowhere else", () => {
  assert.deepEqual(all("\ufeffdata: 1\n\ndata: \ufeff2\n\n"), [["message", "1", ""], ["message", "\ufeff2", ""]]);
});

test("one space behind the colon is no part of the value", () => {
  assert.deepEqual(all("data:  1\n\ndata\n\n"), [["message", " 1", ""], ["message", "", ""]]);
});

test("comments, unknown fields, events without data and an event that is cut off are nothing", () => {
  assert.deepEqual(all(": hello\nretry: 5\nfuture: 1\n\nevent: x\n\nid: a\0b\ndata: 1\n\ndata: 2\n"), [["message", "1", ""]]);
});

test("what is not UTF-8 does no harm", () => {
  const [event] = parse(Uint8Array.of(...bytes("data: "), 0xff, ...bytes("\n\n")));
  assert.equal(event.data, "\ufffd");
});

test("an event without an end is not collected for ever", () => {
  const parser = new EventStreamParser();
  const piece = bytes("x".repeat(100_000));
  assert.throws(() => {
    for (let i = 0; i < 20; i++) parser.feed(piece);
  }, RangeError);
  const lines = new EventStreamParser();
  const line = bytes(`data: ${"x".repeat(100_000)}\n`);
  assert.throws(() => {
    for (let i = 0; i < 20; i++) lines.feed(line);
  }, RangeError);
});

test("however a stream is cut, the same events come out", () => {
  const { below, pick } = generator(7);
  for (let round = 0; round < 300; round++) {
    let text = below(2) ? "\ufeff" : "";
    for (let i = 0; i < 12; i++) text += pick(["data: é", "event: я", "id: 1", ": c", "data", "", "data: 🙂", "x"]) + pick(["\n", "\r", "\r\n"]);
    const whole = bytes(text);
    const pieces = [];
    for (let at = 0; at < whole.length; ) {
      const size = 1 + below(4);
      pieces.push(whole.subarray(at, at + size));
      at += size;
    }
    assert.deepEqual(parse(...pieces), parse(whole), JSON.stringify(text));
  }
});
