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
 * @throws {Error} Where it is no frame, or lacks what those who follow cannot do without.
 */
export function asFrame(value) {
  const frame = /** @type {any} */ (value);
  if (typeof frame?.type !== "string") throw new SyntaxError("the server sent no frame");
  if (!EVENTS.has(frame.type) && !OTHERS.has(frame.type)) return undefined;
  if (!isWhole(frame)) throw new SyntaxError(`the server sent a ${frame.type} that lacks something`);
  return frame;
}

/** @param {unknown[]} values */
const areStrings = (...values) => values.every((value) => typeof value === "string");

/** @param {any} event */
function isEvent({ type, cursor, nickname, text, message, instance, operation }) {
  const chat = { joined: [nickname], left: [nickname], message: [nickname, text], redacted: [message] };
  return areStrings(cursor, ...(chat[/** @type {keyof typeof chat} */ (type)] ?? [instance.id, operation.id]));
}

/** @param {any} frame of a known type; where too much is missing, this throws */
function isWhole(frame) {
  const { type, cursor, participants = [], messages = [], instances = [], operations = [], worklog = [] } = frame;
  if (EVENTS.has(type)) return isEvent(frame);
  if (type === "heartbeat") return areStrings(cursor);
  if (type === "welcome") return frame.heartbeat > 0 && typeof frame.limits === "object";
  if (type !== "snapshot") return true;
  const keys = [participants, instances, operations].flatMap((list) => list.map((/** @type {any} */ one) => one.nickname ?? one.id));
  return areStrings(cursor, ...keys) && [...messages, ...worklog].every(isEvent);
}

/**
 * Read one frame of JSON; see `asFrame`.
 * @param {string} text
 */
export const readFrame = (text) => asFrame(JSON.parse(text));
