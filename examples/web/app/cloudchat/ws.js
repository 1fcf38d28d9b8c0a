// The WebSocket transport: one JSON object a text frame, both ways.

/** @import {Connection, Cursor, End, Handlers, Platform, Transport} from "./types.js" */
import { readFrame } from "./cursors.js";
import { feedUrl } from "./http.js";

const NORMAL = 1000;
const LOST = 1006;
const RESTART = 1012;
/** @type {End} */
const UNOPENED = { code: LOST, why: "unreachable", detail: "no WebSocket can be opened" };

/**
 * @param {{base: URL, topics: string[], platform: Platform}} options
 * @returns {Transport}
 */
export function webSocketTransport({ base, topics, platform }) {
  return {
    name: "ws",
    connect(after, handlers) {
      const url = feedUrl(base, "v1/ws", { after, topics });
      url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
      return connect(url, handlers, platform);
    },
  };
}

/**
 * @param {URL} url
 * @param {Handlers} handlers
 * @param {Platform} platform
 * @returns {Connection}
 */
function connect(url, handlers, platform) {
  /** @type {WebSocket | undefined} */ let socket;
  let over = false;
  let opened = false;

  /** @param {End} end */
  const end = (end) => {
    if (over) return;
    over = true;
    handlers.end(end);
  };

  try {
    if (!platform.WebSocket) throw new TypeError("there are no WebSockets here");
    socket = new platform.WebSocket(url.href, "cloudchat.v1");
  } catch (error) {
    // It may be forbidden: by the page's policy, or as mixed content.
    queueMicrotask(() => end({ code: LOST, why: "unreachable", detail: String(error) }));
    return { shared: false, send() {}, close: () => void (over = true) };
  }

  const line = socket;
  line.onopen = () => void (opened = true);
  line.onmessage = ({ data }) => {
    if (over) return;
    let frame;
    try {
      frame = readFrame(data);
    } catch (error) {
      end({ code: LOST, why: "lost", detail: String(error) });
      line.close();
      return;
    }
    if (frame) handlers.frame(frame);
  };
  // `close` follows it; but not everywhere, where nothing was opened (Node 20).
  line.onerror = () => void (opened || end(UNOPENED));
  line.onclose = ({ code, reason }) => {
    if (!opened) end({ ...UNOPENED, code });
    else if (code === RESTART) end({ code, why: "restart", detail: "the server restarts" });
    else end({ code, why: "lost", detail: reason || `the connection ended (${code})` });
  };

  return {
    shared: false,
    send(commands) {
      if (line.readyState !== line.OPEN) return; // `end` is on its way
      for (const command of commands) line.send(JSON.stringify(command));
    },
    close(code) {
      if (over) return;
      over = true;
      // A page may say 1000 or nothing; without a code the server takes it for a loss, and waits for the return.
      if (code === NORMAL) line.close(NORMAL);
      else line.close();
    },
  };
}
