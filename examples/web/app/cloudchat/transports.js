// The ways to a server, the best first.

/** @import {Platform, Transport, TransportName} from "./types.js" */
/** @import {Session} from "./session.js" */
import { pollFeed } from "./poll.js";
import { httpTransport } from "./posting.js";
import { share } from "./share.js";
import { eventStreamFeed } from "./sse.js";
import { webSocketTransport } from "./ws.js";

/**
 * @param {"auto" | TransportName} wanted
 * @param {{base: URL, topics: string[], platform: Platform, session: Session}} options
 * @returns {Transport[]}
 */
export function choose(wanted, { base, topics, platform, session }) {
  const way = { base, topics, platform };
  /** @type {Record<TransportName, () => Transport>} */
  const all = {
    ws: () => webSocketTransport(way),
    sse: () => httpTransport("sse", share("sse", eventStreamFeed(way), way), { ...way, session }),
    poll: () => httpTransport("poll", share("poll", pollFeed(way), way), { ...way, session }),
  };
  const names = /** @type {TransportName[]} */ (wanted === "auto" ? Object.keys(all) : [wanted]);
  if (!names.every((name) => Object.hasOwn(all, name))) throw new RangeError(`there is no transport ${wanted}`);
  return names.map((name) => all[name]());
}
