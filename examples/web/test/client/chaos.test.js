// Whatever breaks, in whatever order: nothing is lost, doubled or out of order. The same seeds give the same runs.

import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./chaos.js";

/** @type {unknown[]} */
const unhandled = [];
process.on("unhandledRejection", (error) => unhandled.push(error));

const FIRST = Number(process.env.CHAOS_SEED ?? 1);
const RUNS = Number(process.env.CHAOS ?? 12);
for (const transport of ["auto", "ws", "sse", "poll"]) {
  test(`nothing is lost, doubled, out of order or for ever unanswered (${transport})`, async () => {
    for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
      try {
        await run(seed, transport);
        assert.deepEqual(unhandled.splice(0), []);
      } catch (error) {
        throw new Error(`seed ${seed}: ${/** @type {Error} */ (error).stack}`, { cause: error });
      }
    }
  });
}
