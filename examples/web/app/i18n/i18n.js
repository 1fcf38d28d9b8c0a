// Words in the reader's language, and the language switched in place.
//
// Theory of operation. Elements say which text they show: `data-t` names the key of their text, `data-t-aria-label`,
// `data-t-placeholder` and `data-t-title` those of attributes. What a text needs to be filled in is kept beside the
// element. So to switch the language is to write all of them again, wherever they are, and no widget has to know of it.
// Of the languages only the one that is spoken is loaded; until it is, there are no words, and none of another language.

/** @typedef {Record<string, string | number | (() => string)>} Params what fills a text; functions, each time anew */
/** @typedef {"aria-label" | "placeholder" | "title"} Attribute */

/** @type {Record<string, () => Promise<{default: Partial<Record<string, string>>}>>} */
const LANGUAGES = { en: () => import("./en.js"), ru: () => import("./ru.js") };
const ATTRIBUTES = /** @type {const} */ (["aria-label", "placeholder", "title"]);
const MARKED = ["[data-t]", "[data-t-day]", ...ATTRIBUTES.map((name) => `[data-t-${name}]`)].join();

/** @type {WeakMap<Element, Record<string, Params>>} */
const filled = new WeakMap();

let language = "en";
/** What is to be spoken, though its texts may be on their way. */
let wanted = "";
/** @type {Partial<Record<string, string>>} */
let texts = {};
let plurals = new Intl.PluralRules(language);
let moments = momentFormat();
let days = dayFormat();

export const currentLanguage = () => language;

/**
 * @param {string} chosen "" where the reader has not said
 * @param {readonly string[]} understood by the reader, the best first
 * @returns {string} the language to speak
 */
export function closest(chosen, understood) {
  const spoken = [chosen, ...understood].map((one) => one.slice(0, 2).toLowerCase());
  return spoken.find((one) => Object.hasOwn(LANGUAGES, one)) ?? "en";
}

/**
 * Speak `next` everywhere, from when its texts are there.
 * @param {string} next
 * @returns {Promise<void>} rejects where they cannot be had; then all stays as it is
 */
export async function speak(next) {
  wanted = next;
  const loaded = await LANGUAGES[next]();
  if (wanted !== next) return;
  language = next;
  texts = loaded.default;
  plurals = new Intl.PluralRules(language);
  moments = momentFormat();
  days = dayFormat();
  document.documentElement.lang = language;
  // Templates too: what is copied from them speaks the language already.
  const templates = Array.from(document.querySelectorAll("template"), ({ content }) => content);
  for (const root of [document, ...templates])
    for (const element of root.querySelectorAll(MARKED)) translate(element);
}

/**
 * The text of `key`. `{name}` in it is filled from `params`; with a `count`, the key's plural form is taken.
 * @param {string} key
 * @param {Params} [params]
 */
export function t(key, params = {}) {
  const form = "count" in params ? `${key}.${plurals.select(Number(params.count))}` : key;
  const text = texts[form] ?? texts[`${key}.other`] ?? "";
  return text.replace(/\{(\w+)\}/g, (_, name) => {
    const value = params[name] ?? "";
    return String(typeof value === "function" ? value() : value);
  });
}

/** @param {string} key whether there is a text of that name */
export const knows = (key) => Object.hasOwn(texts, key);

/**
 * Let `element` show a text, now and in any language to come.
 * @param {Element} element
 * @param {string} key "" for none
 * @param {Params} [params]
 * @param {"text" | Attribute} [place]
 */
export function write(element, key, params, place = "text") {
  const mark = place === "text" ? "data-t" : `data-t-${place}`;
  if (params || filled.has(element)) filled.set(element, { ...filled.get(element), [place]: params ?? {} });
  if (key) element.setAttribute(mark, key);
  else element.removeAttribute(mark);
  put(element, place, key ? t(key, params) : "");
}

/**
 * Let `element` show a day, such as "20 March 2019", now and in any language to come.
 * @param {Element} element
 * @param {Date} day
 */
export function writeDay(element, day) {
  element.setAttribute("data-t-day", day.toISOString());
  put(element, "text", days.format(day));
}

/** @param {Element} element */
function translate(element) {
  const day = element.getAttribute("data-t-day");
  if (day) put(element, "text", days.format(new Date(day)));
  for (const place of /** @type {const} */ (["text", ...ATTRIBUTES])) {
    const key = element.getAttribute(place === "text" ? "data-t" : `data-t-${place}`);
    if (key) put(element, place, t(key, filled.get(element)?.[place]));
  }
}

/** @param {Element} element @param {string} place @param {string} text */
function put(element, place, text) {
  if (place !== "text") element.setAttribute(place, text);
  else if (element.textContent !== text) element.textContent = text;
}

/** @param {string} at RFC 3339 @returns {string} as heads of messages have it: 23:10 20.03.2019 */
export function shortMoment(at) {
  const { hour, minute, day, month, year } = parts(at);
  return `${hour}:${minute} ${day}.${month}.${year}`;
}

/** @param {string} at RFC 3339 @returns {string} as the worklog has it: 18:50:01 20.03.19 */
export function logMoment(at) {
  const { hour, minute, second, day, month, year } = parts(at);
  return `${hour}:${minute}:${second} ${day}.${month}.${year?.slice(-2)}`;
}

/** @param {string} at RFC 3339 @returns {string} 18:50:01 */
export function timeOfDay(at) {
  const { hour, minute, second } = parts(at);
  return `${hour}:${minute}:${second}`;
}

/** @param {string} at */
function parts(at) {
  /** @type {Partial<Record<Intl.DateTimeFormatPartTypes, string>>} */
  const found = {};
  const moment = new Date(at);
  if (Number.isNaN(moment.getTime())) return found;
  for (const { type, value } of moments.formatToParts(moment)) found[type] = value;
  return found;
}

function momentFormat() {
  return new Intl.DateTimeFormat(language, {
    hourCycle: "h23",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: "2-digit",
  });
}

function dayFormat() {
  return new Intl.DateTimeFormat(language === "en" ? "en-GB" : language, { dateStyle: "long" });
}
