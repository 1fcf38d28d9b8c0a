// A long list of elements in order, in chunks that the browser need not lay out while they are out of sight.
//
// Theory of operation. Each element has a key and a place in the order (a number). Elements live in chunks, `<div>`s
// with `content-visibility: auto`; a chunk's height out of sight is guessed from `--n`, the number of its elements, and
// remembered once it has been seen. Nearly everything comes at the end or, older pages, at the front: there a new chunk
// begins when the outermost one is full. What comes in between makes its chunk grow, until it is cut in two.

const FULL = 50;

/** @typedef {{key: string, order: number, element: HTMLElement, chunk: Chunk, moves: boolean}} Entry */
/** @typedef {{node: HTMLElement, entries: Entry[]}} Chunk */

export class Chunks {
  /** @type {Chunk[]} */
  #chunks = [];
  /** @type {Map<string, Entry>} */
  #entries = new Map();
  #parent;

  /** @param {HTMLElement} parent */
  constructor(parent) {
    this.#parent = parent;
  }

  get size() {
    return this.#entries.size;
  }

  /** @param {string} key @returns {HTMLElement | undefined} */
  get(key) {
    return this.#entries.get(key)?.element;
  }

  /** @param {string} key @returns {number | undefined} */
  orderOf(key) {
    return this.#entries.get(key)?.order;
  }

  clear() {
    this.#parent.replaceChildren();
    this.#chunks = [];
    this.#entries.clear();
  }

  /**
   * Put `element` in its place; one of the same key is replaced.
   * @param {string} key
   * @param {number} order
   * @param {HTMLElement} element
   * @param {boolean} [moves] whether it is put elsewhere when others come, so that no place is known by it
   */
  put(key, order, element, moves = false) {
    const known = this.#entries.get(key);
    if (known?.order === order) {
      known.element.replaceWith(element);
      known.element = element;
      return;
    }
    this.delete(key);
    const chunk = this.#chunkFor(order);
    const at = placeIn(chunk.entries, order);
    const before = chunk.entries[at]?.element ?? null;
    const entry = { key, order, element, chunk, moves };
    this.#entries.set(key, entry);
    chunk.entries.splice(at, 0, entry);
    chunk.node.insertBefore(element, before);
    if (chunk.entries.length > 2 * FULL) this.#cut(chunk);
    else tell(chunk);
  }

  /** @param {string} key */
  delete(key) {
    const entry = this.#entries.get(key);
    if (!entry) return;
    const { chunk } = entry;
    this.#entries.delete(key);
    chunk.entries.splice(chunk.entries.indexOf(entry), 1);
    entry.element.remove();
    if (chunk.entries.length) tell(chunk);
    else {
      chunk.node.remove();
      this.#chunks.splice(this.#chunks.indexOf(chunk), 1);
    }
  }

  /**
   * @param {number} y in the window
   * @returns {{key: string, element: HTMLElement} | undefined} the first entry of a lasting place that reaches below `y`
   */
  at(y) {
    /** @param {Element} element */
    const below = (element) => element.getBoundingClientRect().bottom > y;
    for (const { node, entries } of this.#chunks) {
      const found = below(node) && entries.find(({ element, moves }) => !moves && below(element));
      if (found) return found;
    }
    return undefined;
  }

  /** @param {number} order @returns {Chunk} where an element of that order belongs */
  #chunkFor(order) {
    let index = this.#chunks.length - 1;
    while (index > 0 && firstOf(this.#chunks[index]) > order) index -= 1;
    const chunk = this.#chunks[index];
    if (!chunk) return this.#begin(0);
    if (chunk.entries.length < FULL) return chunk;
    if (index === 0 && firstOf(chunk) > order) return this.#begin(0);
    if (index === this.#chunks.length - 1 && lastOf(chunk) < order) return this.#begin(index + 1);
    return chunk;
  }

  /** @param {number} index @returns {Chunk} a new one there */
  #begin(index) {
    const node = document.createElement("div");
    node.className = "chunk";
    this.#parent.insertBefore(node, this.#chunks[index]?.node ?? null);
    /** @type {Chunk} */
    const chunk = { node, entries: [] };
    this.#chunks.splice(index, 0, chunk);
    return chunk;
  }

  /** @param {Chunk} chunk that has grown too long */
  #cut(chunk) {
    const second = this.#begin(this.#chunks.indexOf(chunk) + 1);
    second.entries = chunk.entries.splice(FULL);
    for (const entry of second.entries) entry.chunk = second;
    second.node.append(...second.entries.map(({ element }) => element));
    tell(chunk);
    tell(second);
  }
}

/** @param {Chunk | undefined} chunk */
const firstOf = (chunk) => chunk?.entries[0]?.order ?? Infinity;

/** @param {Chunk} chunk */
const lastOf = (chunk) => chunk.entries.at(-1)?.order ?? -Infinity;

/** @param {Entry[]} entries @param {number} order @returns {number} the index to insert at; most come at the end */
function placeIn(entries, order) {
  let at = entries.length;
  while (at > 0 && (entries[at - 1]?.order ?? 0) > order) at -= 1;
  return at;
}

/** Tell the styles how long the chunk is. @param {Chunk} chunk */
function tell(chunk) {
  chunk.node.style.setProperty("--n", String(chunk.entries.length));
}
