// Cursors: `<epoch>-<offset>`. Every opening of a log begins a new epoch; offsets go on across epochs, unless the log
// lost some: a server says that by a snapshot.

/** @import {Cursor, Frame} from "./types.js" */

const CURSOR = /^([a-z0-9]{1,16})-(0|[1-9][0-9]{0,18})$/;

/**
 * @param {Cursor} cursor
 * @returns {{epoch: string, offset: bigint} | undefined}
 */
export function parseCursor(cursor) {
  const match = CURSOR.exec(cursor);
  return match ? { epoch: match[1], offset: BigInt(match[2]) } : undefined;
}

/**
 * Tell whether who stands at `mine` knows all that is up to `theirs`, both being of the same log.
 * @param {Cursor} mine
 * @param {Cursor} theirs
 */
export function hasReached(mine, theirs) {
  const here = parseCursor(mine);
  const there = parseCursor(theirs);
  return here !== undefined && there !== undefined && here.offset >= there.offset;
}

const EVENTS = new Set([
  ...["joined", "left", "message", "redacted"],
  ...["received", "created", "started", "stopped", "removed", "failed"],
]);
const OTHERS = new Set(["welcome", "gap", "snapshot", "heartbeat", "closing", "ack", "error"]);

/**
 * Tell where `frame` moves a reader to; undefined where it moves nobody.
 * @param {Frame} frame
 * @returns {Cursor | undefined}
 */
export function movesTo(frame) {
  if (frame.type === "snapshot") return frame.more ? undefined : frame.cursor;
  const moves = frame.type === "heartbeat" || EVENTS.has(frame.type);
  return moves ? /** @type {{cursor: Cursor}} */ (frame).cursor : undefined;
}

/**
 * Read one frame.
 * @param {unknown} value Decoded JSON.
 * @returns {Frame | undefined} Undefined where its type is unknown, which a client ignores.
 * @throws {SyntaxError} Where it is no frame.
 */
export function asFrame(value) {
  const frame = /** @type {any} */ (value);
  if (typeof frame?.type !== "string") throw new SyntaxError("the server sent no frame");
  if (!EVENTS.has(frame.type) && !OTHERS.has(frame.type)) return undefined;
  const moves = EVENTS.has(frame.type) || frame.type === "heartbeat" || frame.type === "snapshot";
  const whole =
    (!moves || typeof frame.cursor === "string") &&
    (frame.type !== "welcome" || (frame.heartbeat > 0 && typeof frame.limits === "object"));
  if (!whole) throw new SyntaxError(`the server sent a ${frame.type} that lacks something`);
  return frame;
}

/**
 * Read one frame of JSON; see `asFrame`.
 * @param {string} text
 */
export const readFrame = (text) => asFrame(JSON.parse(text));
