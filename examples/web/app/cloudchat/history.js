// Pages of what was before.

/** @import {Cursor, Platform} from "./types.js" */
import { RefusedError, ownRefusal } from "./errors.js";
import { Call, readProblem } from "./http.js";

const PATIENCE = 30_000;

/**
 * @param {Platform} platform
 * @param {URL} base
 * @param {"messages" | "worklog"} list
 * @param {{before?: Cursor, limit?: number}} page
 * @returns {Promise<{items: any[], next: Cursor | null}>} Newest first; `next` is the `before` of the next page.
 */
export async function readHistory(platform, base, list, { before, limit }) {
  const url = new URL(`v1/${list}`, base);
  if (before) url.searchParams.set("before", before);
  if (limit) url.searchParams.set("limit", String(limit));
  const call = new Call(platform);
  try {
    const response = await call.fetch(url, {}, PATIENCE);
    if (response.ok) return await response.json();
    const problem = await readProblem(response);
    const { code, detail, ...rest } = problem ?? { code: "unavailable", detail: `HTTP status ${response.status}` };
    throw new RefusedError({ ...ownRefusal(code, detail), ...rest });
  } catch (error) {
    if (error instanceof RefusedError) throw error;
    throw new TypeError("the server cannot be reached", { cause: error });
  } finally {
    call.done();
  }
}
