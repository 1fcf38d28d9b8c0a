/**
 * @template T
 * @param {readonly T[]} items
 * @param {(item: T) => string} key
 * @returns {Map<string, T>} the items in their order, to be found by key
 */
export function keyed(items, key) {
  return new Map(items.map((item) => [key(item), item]));
}
