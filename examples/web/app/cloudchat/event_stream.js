// Reads an event stream as the WHATWG has it (HTML §9.2.5 and §9.2.6), without any I/O.
//
// Bytes go in as they come, cut anywhere; events come out. Lines end with CR, LF or CRLF, the last of which may be cut in
// two; a byte order mark at the beginning is skipped; what is not UTF-8 becomes U+FFFD; an event that the stream's end
// cuts off is dropped.

/** @typedef {{type: string, data: string, lastId: string}} StreamEvent */

/** The longest event taken (characters); a server sends at most its `limits.frame` bytes, 65,536 unless told. */
const LONGEST = 1_048_576;

export class EventStreamParser {
  // It skips the byte order mark, and keeps what is cut in the middle of a character.
  #decoder = new TextDecoder();
  /** A line that has no end yet. */ #text = "";
  #afterCr = false;
  #id = "";
  #type = "";
  /** @type {string[]} */ #data = [];
  #size = 0;

  /**
   * Take what has arrived.
   * @param {Uint8Array} bytes
   * @returns {StreamEvent[]} The events that it completes.
   * @throws {RangeError} Where a line or an event is too long.
   */
  feed(bytes) {
    /** @type {StreamEvent[]} */
    const events = [];
    let text = this.#decoder.decode(bytes, { stream: true });
    if (!text) return events;
    // A CR ends a line at once; the LF that may follow it in the next piece belongs to it.
    if (this.#afterCr && text.startsWith("\n")) text = text.slice(1);
    this.#afterCr = text ? text.endsWith("\r") : false;
    const lines = (this.#text + text).split(/\r\n|\r|\n/);
    this.#text = /** @type {string} */ (lines.pop());
    for (const line of lines) {
      this.#bound(line.length);
      const event = this.#line(line);
      if (event) events.push(event);
    }
    this.#bound(this.#text.length);
    return events;
  }

  /** @param {number} size */
  #bound(size) {
    if (this.#size + size > LONGEST) throw new RangeError("an event of the stream is too long");
  }

  /**
   * @param {string} line
   * @returns {StreamEvent | undefined}
   */
  #line(line) {
    if (!line) return this.#dispatch();
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + (line[colon + 1] === " " ? 2 : 1));
    if (field === "data") {
      this.#size += value.length + 1;
      this.#data.push(value);
    } else if (field === "event") {
      this.#type = value;
    } else if (field === "id" && !value.includes("\0")) {
      this.#id = value;
    }
    // All else is a comment (no name), `retry` (`links.js` decides that), or a field of the future.
    return undefined;
  }

  /** @returns {StreamEvent | undefined} */
  #dispatch() {
    const event = { type: this.#type || "message", data: this.#data.join("\n"), lastId: this.#id };
    const some = this.#data.length > 0;
    this.#type = "";
    this.#data = [];
    this.#size = 0;
    return some ? event : undefined;
  }
}
