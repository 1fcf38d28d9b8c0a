// One timer for all that counts seconds. It runs while something counts and the page is seen.

/** @type {Set<() => void>} */
const counting = new Set();
/** @type {ReturnType<typeof setInterval> | undefined} */
let timer;

/**
 * Call `tick` once a second while `wanted`.
 * @param {() => void} tick
 * @param {boolean} wanted
 */
export function count(tick, wanted) {
  if (wanted) counting.add(tick);
  else counting.delete(tick);
  run();
}

function run() {
  const wanted = counting.size > 0 && !document.hidden;
  if (wanted) timer ??= setInterval(tickAll, 1000);
  else {
    clearInterval(timer);
    timer = undefined;
  }
}

function tickAll() {
  for (const tick of counting) tick();
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) tickAll();
  run();
});
