// What all widgets are: custom elements in the page's own DOM, whose lasting parts stand in index.html.
//
// A widget gets the store once the page is ready, watches the lists that it shows, and calls the store's actions. It
// knows no other widget. Widgets live as long as the page, so nothing is ever unwatched.

/** @import {Changes} from "../store/types.js" */
/** @import {Store} from "../store/store.js" */

export class Widget extends HTMLElement {
  /** @type {readonly string[]} what is watched */
  static lists = [];

  /** @type {Store} */
  store = /** @type {any} */ (null);

  /** @param {Store} store */
  attach(store) {
    this.store = store;
    const { lists } = /** @type {typeof Widget} */ (this.constructor);
    this.prepare();
    store.watch(lists, (changes) => this.update(changes));
  }

  /** Listen to what the reader does. */
  prepare() {}

  /**
   * Show what changed.
   * @param {Changes} _changes
   */
  update(_changes) {}

  /**
   * @template {Element} [E=HTMLElement]
   * @param {string} selector
   * @returns {E} the part of this widget that is always there
   */
  find(selector) {
    return part(this, selector);
  }
}

/**
 * @param {Changes} changes
 * @param {string} list
 * @param {ReadonlyMap<string, unknown>} all what the list holds
 * @returns {Iterable<string>} the keys of `list` to look at again
 */
export function touched(changes, list, all) {
  const keys = changes.get(list);
  return keys === null ? all.keys() : (keys ?? []);
}

/**
 * @template {Element} [E=HTMLElement]
 * @param {ParentNode} parent
 * @param {string} selector
 * @returns {E}
 */
export function part(parent, selector) {
  const found = parent.querySelector(selector);
  if (!found) throw new Error(`no ${selector} in the page`);
  return /** @type {E} */ (/** @type {unknown} */ (found));
}

/**
 * @param {string} id of a `<template>` in the page
 * @returns {HTMLElement} a fresh copy of its one element
 */
export function copy(id) {
  const template = /** @type {HTMLTemplateElement} */ (part(document, `template#${id}`));
  const [element] = template.content.children;
  return /** @type {HTMLElement} */ (element?.cloneNode(true));
}

/**
 * @param {EventTarget | null} target of an event
 * @param {string} selector
 * @returns {HTMLElement | null} the element that was meant
 */
export function meant(target, selector) {
  return target instanceof Element ? target.closest(selector) : null;
}
