// Why a server of another site gives no answer. A browser keeps from a page what did not allow its site: to the page it
// looks as if nobody were there. Whether somebody is shows only a request that asks for nothing to read (`no-cors`).

/** @import {Platform} from "./types.js" */
import { Call } from "./http.js";

const PATIENCE = 4000;

/**
 * Tell whether something is there that does not answer to this page's site: a server that was not told of it, or a proxy
 * that speaks for one that is down.
 * @param {Platform} platform
 * @param {URL} base
 */
export async function isBarred(platform, base) {
  if (!platform.origin || platform.origin === base.origin) return false;
  return !(await answers(platform, base, {})) && (await answers(platform, base, { mode: "no-cors" }));
}

/**
 * @param {Platform} platform
 * @param {URL} base
 * @param {RequestInit} init
 */
async function answers(platform, base, init) {
  const call = new Call(platform);
  try {
    await call.fetch(new URL("healthz", base), init, PATIENCE);
    return true;
  } catch {
    return false;
  } finally {
    call.done();
  }
}
