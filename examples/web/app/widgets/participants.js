// Who is in the chat. Our own name stands in its place as "You", and opens the menu.

import { write } from "../i18n/i18n.js";
import { hueOf, initialOf } from "./foreign.js";
import { copy, part, Widget } from "./widget.js";

/** @import {Changes} from "../store/types.js" */

export class Participants extends Widget {
  static lists = ["participants", "me"];
  /** @type {Map<string, HTMLElement>} */
  #items = new Map();
  #you = "";

  /** @param {Changes} changes */
  update(changes) {
    const touched = new Set(changes.get("participants") ?? []);
    const everything = changes.get("participants") === null;
    if (everything) for (const name of [...this.#items.keys(), ...this.store.participants.keys()]) touched.add(name);
    if (this.#you !== this.store.me.nickname) touched.add(this.#you).add(this.store.me.nickname);
    this.#you = this.store.me.nickname;
    for (const nickname of touched) this.#show(nickname);
    if (everything) this.find("ul").append(...this.#inOrder());
    this.find(".count").textContent = String(this.store.participants.size);
  }

  #inOrder() {
    return [...this.store.participants.keys()].flatMap((nickname) => this.#items.get(nickname) ?? []);
  }

  /** @param {string} nickname */
  #show(nickname) {
    const old = this.#items.get(nickname);
    if (!this.store.participants.has(nickname)) {
      this.#items.delete(nickname);
      old?.remove();
      return;
    }
    const own = nickname === this.store.me.nickname;
    const item = copy(own ? "participant-you" : "participant");
    const avatar = part(item, ".avatar");
    avatar.dataset.initial = initialOf(nickname);
    avatar.style.setProperty("--hue", String(hueOf(nickname)));
    const name = part(item, ".name");
    if (own) write(name, "you");
    else name.textContent = nickname;
    name.title = nickname;
    this.#items.set(nickname, item);
    if (old) old.replaceWith(item);
    else this.find("ul").append(item);
  }
}

customElements.define("cc-participants", Participants);
