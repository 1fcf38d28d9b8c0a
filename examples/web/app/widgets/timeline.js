// Entries of a log with a line before the first of each day.

import { writeDay } from "../i18n/i18n.js";

/** @import {Chunks} from "./chunks.js" */

export class Timeline {
  /** How many entries each day has, by the day's key. @type {Map<string, number>} */
  #counts = new Map();
  /** The day of each entry, by the entry's key. @type {Map<string, string>} */
  #dayOf = new Map();
  #entries;

  /** @param {Chunks} entries */
  constructor(entries) {
    this.#entries = entries;
  }

  clear() {
    this.#entries.clear();
    this.#counts.clear();
    this.#dayOf.clear();
  }

  /**
   * @param {string} key
   * @param {number} order
   * @param {string} at when it happened, RFC 3339
   * @param {HTMLElement} element
   */
  put(key, order, at, element) {
    this.#entries.put(key, order, element);
    if (this.#dayOf.has(key)) return;
    const moment = new Date(at);
    if (Number.isNaN(moment.getTime())) return;
    const day = `day:${moment.getFullYear()}-${moment.getMonth()}-${moment.getDate()}`;
    this.#dayOf.set(key, day);
    this.#counts.set(day, (this.#counts.get(day) ?? 0) + 1);
    const place = order - 0.4;
    if ((this.#entries.orderOf(day) ?? Infinity) > place)
      this.#entries.put(day, place, this.#entries.get(day) ?? dayLine(moment), true);
  }

  /** @param {string} key */
  delete(key) {
    this.#entries.delete(key);
    const day = this.#dayOf.get(key);
    if (day === undefined) return;
    this.#dayOf.delete(key);
    const left = (this.#counts.get(day) ?? 0) - 1;
    this.#counts.set(day, left);
    if (left > 0) return;
    this.#counts.delete(day);
    this.#entries.delete(day);
  }
}

/** @param {Date} day */
function dayLine(day) {
  const line = document.createElement("h3");
  line.className = "day";
  writeDay(line, day);
  return line;
}
