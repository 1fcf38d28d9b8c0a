// Cursors, `<epoch>-<offset>`. The offsets of a log go on through its epochs, so that they order all that one snapshot
// and the events after it hold. (Offsets beyond 2^53 would lose their last digits here; no log gets there.)

/** @param {string} cursor @returns {number} its offset, 0 where there is none */
export function offsetOf(cursor) {
  return Number(cursor.slice(cursor.indexOf("-") + 1)) || 0;
}

/** @param {string} cursor */
function epochOf(cursor) {
  return cursor.slice(0, cursor.indexOf("-"));
}

/**
 * Tell whether who stands at `here` has seen what stands at `there`. Across epochs that cannot be known: false.
 * @param {string} here
 * @param {string} there
 */
export function hasSeen(here, there) {
  return here !== "" && epochOf(here) === epochOf(there) && offsetOf(there) <= offsetOf(here);
}
