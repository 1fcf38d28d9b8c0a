/** @import {Cursor, Feed, Handlers, OpenFeed, Platform} from "./types.js" */

/**
 * @param {string} name
 * @param {OpenFeed} openFeed
 * @param {{base: URL, topics: string[], platform: Platform}} way
 * @returns {(after: Cursor, token: string, introduced: boolean, handlers: Handlers) => Feed}
 */
export function share(name, openFeed, _way) {
  return (after, token, introduced, handlers) => {
    const source = openFeed(after, introduced ? [token] : [], handlers);
    return { shared: false, joined: () => void source.present([token]), close: () => source.close() };
  };
}
