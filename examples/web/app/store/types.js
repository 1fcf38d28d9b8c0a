// What the store holds beyond the frames of the protocol, for the type checker and for readers. Nothing is left at run
// time.

/** @import {InstanceEvent, Instance, Operation} from "../cloudchat/types.js" */

/**
 * A message of ours that the feed has not shown yet. `accepted` is the cursor at which the server says it stands, known
 * from the answer where that comes before the event.
 * @typedef {object} Unsent
 * @property {string} ref
 * @property {string} text
 * @property {string} at When it was written, RFC 3339, by our clock.
 * @property {"pending" | "failed" | "uncertain"} state
 * @property {string} [accepted]
 * @property {Trouble} [trouble] Why it failed.
 */

/**
 * Why something could not be done; `code` is one of the protocol's, or one of the client's own.
 * @typedef {object} Trouble
 * @property {string} code
 * @property {string} detail
 * @property {readonly string[]} [suggestions]
 */

/**
 * A loss that the server has told of: what came after the cursor `after` is not known. `before` is where the snapshot
 * after the loss stands.
 * @typedef {{after: string, reason: string, before: string}} Loss
 */

/**
 * How far back a list goes. `before` is the cursor to ask for the next older page ("": the oldest that is held).
 * @typedef {object} Past
 * @property {"more" | "loading" | "end" | "gone" | "full" | "unreachable"} state
 * @property {string} before
 */

/**
 * All there is to say of one instance. `instance` has no state while it is being created; `asked` is
 * our own command on its way, `waiting` whether that is for the connection to come back, `trouble` why our last one was refused, `failure` the last operation, where it failed.
 * @typedef {object} Card
 * @property {string} id
 * @property {Instance} [instance]
 * @property {Operation} [operation]
 * @property {string} [asked]
 * @property {boolean} [waiting]
 * @property {Trouble} [trouble]
 * @property {InstanceEvent} [failure]
 */

/**
 * What the store needs of the protocol client.
 * @typedef {Pick<import("../cloudchat/cloudchat.js").Client, "execute" | "history" | "join" | "leave" | "limits" |
 *   "newId" | "nickname" | "reconnect" | "skew" | "subscribe" | "unanswered" | "wanted">} ClientPort
 */

/** @typedef {Map<string, Set<string> | null>} Changes What changed: of each list the keys, or null for all of it. */

export {};
