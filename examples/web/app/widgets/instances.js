// The dashboard: a card for each instance, and a way to a new one. A card changes only by what the server says; our own
// command shows as a button that waits.

import { writeTrouble } from "../i18n/explain.js";
import { timeOfDay, write } from "../i18n/i18n.js";
import { actionsOf } from "../store/instances.js";
import { NEW } from "../store/store.js";
import { confirmed } from "./confirm.js";
import { fillAuthor, fillWhat } from "./entries.js";
import { count } from "./seconds.js";
import { copy, meant, part, Widget } from "./widget.js";

/** @import {Operation} from "../cloudchat/types.js" */
/** @import {Card, Changes} from "../store/types.js" */

export class Instances extends Widget {
  static lists = ["instances"];
  /** @type {Map<string, HTMLElement>} */
  #cards = new Map();
  /** The operations under way, with the part of the card that counts. @type {Map<HTMLElement, Operation>} */
  #running = new Map();

  /** */
  prepare() {
    this.addEventListener("click", ({ target }) => void this.#clicked(target));
    this.find("form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#create();
    });
  }

  /** @param {Changes} changes */
  update(changes) {
    const keys = changes.get("instances");
    for (const id of keys ?? new Set([...this.#cards.keys(), ...this.store.cards])) if (id !== NEW) this.#show(id);
    this.#showForm();
    this.find(".empty").hidden = this.#cards.size > 0 || !this.store.cursor;
    count(this.#tick, this.#running.size > 0);
    this.#tick();
  }

  /** @param {string} id */
  #show(id) {
    const card = this.store.card(id);
    let element = this.#cards.get(id);
    if (element) this.#running.delete(part(element, ".operation"));
    if (!card.instance && !card.operation && !card.failure) {
      this.#cards.delete(id);
      if (element?.contains(document.activeElement)) this.find("h2").focus();
      element?.remove();
      return;
    }
    if (!element) {
      element = copy("instance");
      this.#cards.set(id, element);
      this.find(".cards").append(element);
    }
    if (card.operation) {
      const doing = part(element, ".operation");
      // Before it is shown: else the bar runs back from where the operation before left it.
      fillProgress(doing, card.operation, this.store.serverTime);
      this.#running.set(doing, card.operation);
    }
    fillCard(element, card);
  }

  #showForm() {
    const { asked, waiting, trouble } = this.store.card(NEW);
    const button = this.find("form button");
    button.ariaDisabled = String(!!asked);
    this.find("form .waiting").hidden = !waiting;
    const error = this.find("form .error");
    error.hidden = !trouble;
    if (trouble) writeTrouble(error, trouble);
  }

  async #create() {
    if (this.store.card(NEW).asked) return;
    /** @type {HTMLInputElement} */
    const name = this.find("form input");
    if (await this.store.create(name.value.trim())) name.value = "";
  }

  /** @param {EventTarget | null} target */
  async #clicked(target) {
    const button = meant(target, "button");
    const { id = "" } = meant(target, ".instance")?.dataset ?? {};
    if (!button || !id || button.ariaDisabled === "true") return;
    const { action } = button.dataset;
    if (button.matches(".dismiss")) this.store.dismiss(id);
    else if (action === "start" || action === "stop") void this.store.operate(action, id);
    else if (action === "remove") {
      const { instance } = this.store.card(id);
      if (await confirmed("remove", instance?.name ? `${instance.name} · ${id}` : id))
        void this.store.operate("remove", id);
    }
  }

  /** Move on what counts seconds, on the cards that are in sight. */
  #tick = () => {
    const now = this.store.serverTime;
    const seen = [...this.#running].filter(([element]) => element.checkVisibility({ contentVisibilityAuto: true }));
    for (const [element, operation] of seen) fillProgress(element, operation, now);
  };
}

/** @param {HTMLElement} element @param {Card} card */
function fillCard(element, { id, instance, operation, asked, waiting, trouble, failure }) {
  const state = instance?.state ?? (operation ? "creating" : "none");
  const name = instance?.name ?? failure?.instance.name ?? "";
  const busy = !!operation || !!asked;
  element.dataset.id = id;
  element.dataset.state = state;
  element.ariaBusy = String(busy);
  part(element, ".name").textContent = name;
  part(element, ".id").textContent = id;
  const actions = instance?.state ? actionsOf(instance.state) : [];
  const word = part(element, ".word");
  write(word, actions ? `instance.${state}` : "");
  if (!actions) word.textContent = state;
  fillActions(part(element, ".actions"), actions ?? [], name || id, busy);
  part(element, ".waiting").hidden = !waiting;
  const doing = part(element, ".operation");
  doing.hidden = !operation;
  if (operation) {
    write(part(doing, ".command"), `doing.${operation.command}`);
    write(part(doing, ".since"), "doing.since", { time: timeOfDay(operation.received_at) });
    fillAuthor(part(doing, ".by"), operation.by);
  }
  const error = part(element, ".error");
  error.hidden = !trouble && !failure;
  if (trouble) writeTrouble(part(error, ".why"), trouble);
  else if (failure) fillWhat(part(error, ".why"), failure);
}

/**
 * @param {HTMLElement} row
 * @param {readonly string[]} actions
 * @param {string} name
 * @param {boolean} busy
 */
function fillActions(row, actions, name, busy) {
  row.hidden = actions.length === 0;
  const buttons = part(row, ".buttons");
  const had = [...buttons.children].map((button) => /** @type {HTMLElement} */ (button).dataset.action);
  if (had.join() !== actions.join()) {
    const focused = buttons.contains(document.activeElement);
    buttons.replaceChildren(...actions.map((action) => copy(`action-${action}`)));
    // Play becomes pause under the finger of who pressed it.
    if (focused) /** @type {HTMLElement | null} */ (buttons.firstElementChild)?.focus();
  }
  for (const button of buttons.children) {
    const { action } = /** @type {HTMLElement} */ (button).dataset;
    write(button, `instance.${action}`, { name }, "aria-label");
    write(button, `instance.${action}`, { name }, "title");
    button.ariaDisabled = String(busy);
  }
}

/** @param {HTMLElement} element @param {Operation} operation @param {number} now the server's time */
function fillProgress(element, { received_at, expected }, now) {
  const begun = Date.parse(received_at);
  const done = Math.max(0, Math.round((now - begun) / 1000));
  const whole = expected === undefined ? 0 : Math.max(1, Math.round((Date.parse(expected) - begun) / 1000));
  const late = whole > 0 && done > whole;
  /** @type {HTMLProgressElement} */
  const bar = part(element, "progress");
  // Without an end in sight the bar says only that something goes on.
  if (!whole || late) bar.removeAttribute("value");
  else {
    bar.max = whole;
    bar.value = done;
  }
  write(part(element, ".counted"), whole ? "doing.of" : "doing.for", { done, expected: whole });
  part(element, ".late").hidden = !late;
}

customElements.define("cc-instances", Instances);
