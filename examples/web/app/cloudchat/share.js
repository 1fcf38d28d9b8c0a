// Whether a feed is shared with other tabs. How that is done (`sharing.js`) is loaded with the first feed over HTTP, since
// most pages have a WebSocket; where it cannot be had, each tab has a feed of its own.

/** @import {Cursor, Feed, Handlers, OpenFeed, Platform} from "./types.js" */

/** @type {typeof import("./sharing.js").SharedFeed | undefined} */
let SharedFeed;

/** Have the first feed find it there. */
export async function load() {
  ({ SharedFeed } = await import("./sharing.js"));
}

/**
 * @param {string} name Of the transport.
 * @param {OpenFeed} openFeed
 * @param {{base: URL, topics: string[], platform: Platform}} way
 * @returns {(after: Cursor, token: string, introduced: boolean, handlers: Handlers) => Feed}
 */
export function share(name, openFeed, { base, topics, platform }) {
  const key = `cloudchat ${base.href} ${name} ${topics}`;
  const { locks, BroadcastChannel } = platform;
  const hub = { key, openFeed, base, topics, platform, possible: Boolean(locks && BroadcastChannel) };
  /** @type {ReturnType<typeof share>} */
  const open = (after, token, introduced, handlers) => {
    if (hub.possible && SharedFeed) return new SharedFeed(hub, after, token, introduced, handlers);
    const source = openFeed(after, introduced ? [token] : [], handlers);
    return { shared: false, joined: () => void source.present([token]), close: () => source.close() };
  };
  return (...asked) => (hub.possible && !SharedFeed ? later(() => open(...asked)) : open(...asked));
}

/**
 * @param {() => Feed} open
 * @returns {Feed} One that opens when it is known how to share it, or that this will not be known.
 */
function later(open) {
  /** @type {Feed | undefined} */ let feed;
  let over = false;
  const begin = () => {
    if (!over) feed = open();
  };
  load().then(begin, begin);
  return {
    get shared() {
      return feed?.shared ?? false;
    },
    joined: () => feed?.joined(),
    close() {
      over = true;
      feed?.close();
    },
  };
}
