// A log on the screen: it stays at its end while new entries come, unless the reader has scrolled up; then what the
// reader sees stays where it is, whatever comes below or is loaded above.
//
// Theory of operation. `stuck` says whether the end is held. Only the reader lets go of it, by scrolling up: content
// that grows does not. Every change goes through `change`: it notes where the topmost visible entry is, lets the change
// be made, and puts that entry back, or goes to the end. Heights may settle later (a font, a chunk that comes into
// sight); a ResizeObserver then holds the end, or the place that was gone to, again.

import { Chunks } from "./chunks.js";

/** How near to the beginning (px) older entries are asked for, and how near to the end counts as there. */
const NEAR_TOP = 600;
const NEAR_END = 24;

export class LogView {
  stuck = true;
  #scroller;
  #top = 0;
  /** The entry to keep at the top until the reader scrolls. */
  #held = "";
  #moved;

  /**
   * @param {HTMLElement} scroller
   * @param {HTMLElement} list
   * @param {() => void} moved the reader has scrolled
   */
  constructor(scroller, list, moved) {
    this.#scroller = scroller;
    this.#moved = moved;
    this.entries = new Chunks(list);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const sizes = new ResizeObserver(() => {
      if (this.stuck) this.toEnd();
      else if (this.#held) this.toPlace(this.#held);
    });
    sizes.observe(scroller);
    sizes.observe(list);
  }

  /** Whether the beginning is so near that older entries should be there. A view that is not shown is near nothing. */
  get nearTop() {
    return this.#scroller.clientHeight > 0 && this.#scroller.scrollTop < NEAR_TOP;
  }

  /** The key of the entry that the reader is at, "" at the end. */
  get place() {
    return this.stuck ? "" : (this.#anchor()?.key ?? "");
  }

  /** @param {() => void} write changes the entries, and reads no layout */
  change(write) {
    const anchor = this.stuck ? undefined : this.#anchor();
    const before = anchor?.element.getBoundingClientRect().top ?? 0;
    write();
    if (this.stuck) this.toEnd();
    else if (anchor) {
      const now = this.entries.get(anchor.key) ?? anchor.element;
      if (now.isConnected) this.#scroller.scrollTop += now.getBoundingClientRect().top - before;
    }
    this.#top = this.#scroller.scrollTop;
  }

  toEnd() {
    this.stuck = true;
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#top = this.#scroller.scrollTop;
  }

  /** @param {string} key of the entry to have at the top */
  toPlace(key) {
    const element = this.entries.get(key);
    if (!element) return;
    this.stuck = false;
    this.#held = key;
    this.#scroller.scrollTop += element.getBoundingClientRect().top - this.#scroller.getBoundingClientRect().top;
    this.#top = this.#scroller.scrollTop;
  }

  #anchor() {
    return this.entries.at(this.#scroller.getBoundingClientRect().top + 1);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    if (clientHeight === 0) return;
    if (scrollTop !== this.#top) this.#held = "";
    if (scrollHeight - scrollTop - clientHeight <= NEAR_END) this.stuck = true;
    else if (scrollTop < this.#top) this.stuck = false;
    this.#top = scrollTop;
    this.#moved();
  }
}
