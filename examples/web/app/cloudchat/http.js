// What everything over HTTP shares: where things are, requests that end, and how a server says no.

/** @import {Cursor, End, Platform} from "./types.js" */

const LOST = 1006;

/**
 * Nobody answers, or not in time; or what answers speaks otherwise.
 * @param {unknown} error
 * @returns {End}
 */
export const unreachable = (error) => ({
  code: LOST,
  why: "unreachable",
  detail: `the server cannot be reached (${error instanceof Error ? error.message : error})`,
});

/**
 * @param {URL} base
 * @param {string} path
 * @param {{after: Cursor, topics: string[]}} feed
 */
export function feedUrl(base, path, { after, topics }) {
  const url = new URL(path, base);
  if (after) url.searchParams.set("after", after);
  if (topics.length) url.searchParams.set("topics", topics.join(","));
  return url;
}

/**
 * @param {string[]} tokens
 * @returns {Record<string, string>} The header that says for whom a request speaks: a token never stands in a URL.
 */
export const identity = (tokens) => (tokens.length ? { "Cloudchat-Token": tokens.join(",") } : {});

/** A request that can be given up, and is when it takes too long. */
export class Call {
  #abort = new AbortController();
  #platform;
  /** @type {number | undefined} */ #timer;
  /** Whether it was given up by `cancel`. */ cancelled = false;

  /** @param {Platform} platform */
  constructor(platform) {
    this.#platform = platform;
  }

  /**
   * @param {URL} url
   * @param {RequestInit} init
   * @param {number} ms For the answer, its body included, unless `done` is called before.
   * @returns {Promise<Response>} Rejects where nobody answers, or not in time.
   */
  fetch(url, init, ms) {
    this.done();
    this.#timer = this.#platform.setTimeout(() => this.#abort.abort(), ms);
    const { signal } = this.#abort;
    return this.#platform.fetch(url.href, { cache: "no-store", ...init, signal });
  }

  /**
   * Ask for a feed that keeps the participations of `tokens` present. Where the server does not know one of them (any
   * more), none is named: all join again on a feed that begins.
   * @param {URL} url
   * @param {string} accept
   * @param {string[]} tokens
   * @param {number} ms
   * @param {() => void} [forgotten] Called where none is named.
   */
  async open(url, accept, tokens, ms, forgotten) {
    const response = await this.fetch(url, { headers: { Accept: accept, ...identity(tokens) } }, ms);
    if (response.status !== 401 || !tokens.length) return response;
    tokens.length = 0;
    forgotten?.();
    await response.body?.cancel();
    return await this.fetch(url, { headers: { Accept: accept } }, ms);
  }

  /** There is no hurry any more. */
  done() {
    if (this.#timer !== undefined) this.#platform.clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  cancel() {
    this.cancelled = true;
    this.done();
    this.#abort.abort();
  }
}

/**
 * What is of interest of a problem (RFC 9457).
 * @typedef {{code: string, detail: string, retry_after?: number}} Problem
 */

/**
 * @param {Response} response
 * @returns {Promise<Problem | undefined>} Undefined where the answer is none of the protocol's.
 */
export async function readProblem(response) {
  let problem;
  try {
    problem = JSON.parse(await response.text());
  } catch {
    return undefined;
  }
  if (typeof problem?.code !== "string") return undefined;
  const after = Number(problem.retry_after ?? response.headers.get("retry-after") ?? NaN);
  return {
    code: problem.code,
    detail: String(problem.detail ?? problem.code),
    ...(after >= 0 ? { retry_after: after } : {}),
  };
}

/**
 * What a server said that would not give a feed.
 * @param {Response} response
 * @returns {Promise<End>}
 */
export async function rejected(response) {
  const problem = await readProblem(response);
  const detail = problem?.detail ?? `the server answered with HTTP status ${response.status}`;
  // What a proxy says when there is no server behind it (502, 504) passes.
  const passing = response.status >= 500 || [408, 425, 429].includes(response.status);
  const after = problem?.retry_after ?? Number(response.headers.get("retry-after"));
  return {
    code: LOST,
    why: passing ? "unreachable" : "refused",
    detail,
    ...(after > 0 ? { retryAfter: after } : {}),
  };
}
