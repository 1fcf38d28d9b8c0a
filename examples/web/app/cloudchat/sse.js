// The feed as an event stream, read with `fetch`: a native `EventSource` can send no headers, and has its own idea of
// when to come back. A stream that brings no `welcome` (a proxy collects it) counts as one that cannot be had.

/** @import {End, Handlers, OpenFeed, Platform} from "./types.js" */
import { readFrame } from "./cursors.js";
import { EventStreamParser } from "./event_stream.js";
import { Call, feedUrl, rejected, unreachable } from "./http.js";

/** Milliseconds until a stream begins. */
const OPENING = 10_000;
const CONTENT_TYPE = "text/event-stream";

const LOST = 1006;
const RESTART = 1012;
const STAY_AWAY = 4500;

/**
 * @param {{base: URL, topics: string[], platform: Platform}} options
 * @returns {OpenFeed}
 */
export function eventStreamFeed({ base, topics, platform }) {
  return (after, tokens, handlers) => {
    const call = new Call(platform);
    const url = feedUrl(base, "v1/sse", { after, topics });
    void follow(call, url, [...tokens], handlers).then((end) => {
      const told = call.cancelled;
      call.cancel();
      if (!told) handlers.end(end);
    });
    return {
      // A join names the feed that is to keep it present, and a token is let go of by another feed only.
      present: () => false,
      close: () => call.cancel(),
    };
  };
}

/**
 * @param {Call} call
 * @param {URL} url
 * @param {string[]} tokens
 * @param {Handlers} handlers
 * @returns {Promise<End>} Never rejects.
 */
async function follow(call, url, tokens, handlers) {
  let body;
  try {
    const response = await call.open(url, CONTENT_TYPE, tokens, OPENING, handlers.forgotten);
    if (response.status === 204) return { code: STAY_AWAY, why: "ended", detail: "the server says: do not come back" };
    if (response.status !== 200) return await rejected(response);
    if (!response.headers.get("content-type")?.startsWith(CONTENT_TYPE)) throw new TypeError("no event stream");
    body = /** @type {ReadableStream<Uint8Array>} */ (response.body);
    call.done();
  } catch (error) {
    return unreachable(error);
  }
  try {
    return await read(body.getReader(), call, handlers);
  } catch (error) {
    return { code: LOST, why: "lost", detail: `the stream broke off: ${error}` };
  }
}

/**
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {Call} call
 * @param {Handlers} handlers
 * @returns {Promise<End>}
 */
async function read(reader, call, handlers) {
  const parser = new EventStreamParser();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return { code: LOST, why: "lost", detail: "the stream ended" };
    for (const { data } of parser.feed(value)) {
      const frame = readFrame(data);
      if (call.cancelled) return unreachable("cancelled");
      if (frame) handlers.frame(frame);
      if (frame?.type === "closing") return { code: RESTART, why: "restart", detail: "the server restarts" };
    }
  }
}
