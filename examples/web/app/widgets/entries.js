// How a message, and an event of an instance, look.

import { explain } from "../i18n/explain.js";
import { logMoment, shortMoment, timeOfDay, write } from "../i18n/i18n.js";
import { bdi, fillText } from "./foreign.js";
import { copy, part } from "./widget.js";

/** @import {InstanceEvent, MessageEvent} from "../cloudchat/types.js" */
/** @import {Trouble, Unsent} from "../store/types.js" */

/**
 * @param {MessageEvent} message
 * @param {boolean} own
 * @param {Trouble} [trouble] why it could not be taken back
 */
export function messageElement({ cursor, at, nickname, text, redacted }, own, trouble) {
  const article = copy("message");
  article.dataset.cursor = cursor;
  fillHead(article, own ? "" : nickname, at);
  const body = part(article, ".text");
  if (redacted) {
    article.classList.add("redacted");
    write(body, "message.removed");
  } else fillText(body, text);
  if (own) {
    article.classList.add("own");
    if (!redacted) article.append(copy("message-tools"));
  }
  if (trouble) article.append(note("message.kept", trouble));
  return article;
}

/** @param {Unsent} unsent */
export function unsentElement({ ref, at, text, state, trouble }) {
  const article = copy("message");
  article.dataset.ref = ref;
  article.classList.add("own", state);
  fillHead(article, "", at);
  fillText(part(article, ".text"), text);
  article.append(note(`message.${state}`, state === "failed" ? trouble : undefined));
  if (state !== "pending") article.append(copy("unsent-tools"));
  return article;
}

/** @param {InstanceEvent} event as a quiet line between messages */
export function quietElement(event) {
  const line = copy("quiet");
  fillTime(part(line, "time"), event.at, timeOfDay(event.at));
  part(line, ".server").textContent = event.instance.name ?? event.instance.id;
  fillWhat(part(line, ".what"), event);
  fillAuthor(part(line, ".by"), event.by);
  return line;
}

/** @param {InstanceEvent} event as an entry of the worklog */
export function worklogElement(event) {
  const article = copy("entry");
  article.dataset.cursor = event.cursor;
  const failed = event.type === "failed";
  article.classList.toggle("failed", failed);
  fillTime(part(article, "time"), event.at, logMoment(event.at));
  part(article, ".server").textContent = event.instance.id;
  const name = part(article, ".instance-name");
  if (event.instance.name) name.append(bdi(event.instance.name));
  else name.remove();
  part(article, ".level").textContent = failed ? "ERROR:" : "INFO:";
  fillWhat(part(article, ".what"), event);
  fillAuthor(part(article, ".by"), event.by);
  return article;
}

/** @param {HTMLElement} element @param {InstanceEvent} event */
export function fillWhat(element, event) {
  const what = document.createElement("span");
  const command = event.type === "received" || event.type === "failed" ? `.${event.command}` : "";
  write(what, `log.${event.type}${command}`);
  element.replaceChildren(what);
  if (event.type === "failed") element.append(": ", bdi(event.detail || event.reason));
}

/** @param {HTMLElement} element @param {string | null} author */
export function fillAuthor(element, author) {
  element.hidden = !author;
  if (author) part(element, "bdi").textContent = author;
}

/**
 * @param {HTMLElement} article
 * @param {string} nickname "" for ourselves
 * @param {string} at
 */
function fillHead(article, nickname, at) {
  const name = part(article, ".name");
  if (nickname) name.textContent = nickname;
  else write(name, "you");
  fillTime(part(article, "time"), at, shortMoment(at));
}

/** @param {HTMLElement} element @param {string} at @param {string} text */
function fillTime(element, at, text) {
  /** @type {HTMLTimeElement} */ (element).dateTime = at;
  element.textContent = text;
}

/** @param {string} key @param {Trouble} [trouble] */
function note(key, trouble) {
  const element = document.createElement("p");
  element.className = "note";
  element.setAttribute("role", trouble ? "alert" : "status");
  write(element, key, trouble && { why: () => explain(trouble) });
  return element;
}
