// What becomes of a command that is not acknowledged, as errors.

/** @import {Refusal} from "./types.js" */

/** The server (or, where `reply.id` is null, this client) declined a command, which left no trace. */
export class RefusedError extends Error {
  /** @param {Refusal} reply */
  constructor(reply) {
    super(reply.detail);
    this.name = "RefusedError";
    this.reply = reply;
    this.code = reply.code;
    this.detail = reply.detail;
    this.suggestions = reply.suggestions ?? [];
    this.retryAfter = reply.retry_after;
    this.operation = reply.operation;
  }
}

/** Whether the command happened cannot be known any more. */
export class UncertainError extends Error {
  constructor(message = "the server has forgotten whether this was done") {
    super(message);
    this.name = "UncertainError";
  }
}

/** The client is closed, or the server has ended it for good; what was not answered may or may not have happened. */
export class EndedError extends Error {
  constructor(message = "the client is closed", closeCode = 1000) {
    super(message);
    this.name = "EndedError";
    this.closeCode = closeCode;
  }
}

/**
 * @param {string} code
 * @param {string} detail
 * @returns {Refusal} A refusal by this client itself.
 */
export const ownRefusal = (code, detail) => ({ type: "error", id: null, code, detail });
