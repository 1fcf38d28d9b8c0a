// Text that others wrote, put into the page: always as text nodes, always apart from the text around it.

const LINK = /\bhttps?:\/\/[^\s<>"“”«»]+/giu;
/** What ends a sentence rather than an address. */
const TAIL = ".,:;!?…'\"*_~";

/**
 * Put `text` into `element`, with its http and https addresses as links.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function fillText(element, text) {
  const nodes = [];
  let end = 0;
  for (const { 0: found, index } of text.matchAll(LINK)) {
    const address = withoutTail(found);
    const link = linkTo(address);
    if (!link) continue;
    nodes.push(text.slice(end, index), link);
    end = index + address.length;
  }
  element.replaceChildren(...nodes, text.slice(end));
}

/** @param {string} address @returns {HTMLAnchorElement | null} */
function linkTo(address) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (url?.protocol !== "http:" && url?.protocol !== "https:") return null;
  const link = document.createElement("a");
  link.href = url.href;
  link.target = "_blank";
  link.rel = "noopener noreferrer nofollow";
  link.dir = "ltr";
  link.textContent = address;
  return link;
}

/**
 * A closing bracket belongs to an address only where it was opened in it. One pass: who wrote this may mean to keep us
 * busy.
 * @param {string} found
 */
function withoutTail(found) {
  const count = (/** @type {string} */ sign) => found.split(sign).length - 1;
  /** @type {Record<string, number>} */
  const extra = { ")": count(")") - count("("), "]": count("]") - count("[") };
  let end = found.length;
  for (; end; end -= 1) {
    const sign = found[end - 1];
    if (TAIL.includes(sign)) continue;
    if (!(extra[sign] > 0)) break;
    extra[sign] -= 1;
  }
  return found.slice(0, end);
}

/** @param {string} name foreign @returns {HTMLElement} it, apart from the text around it */
export function bdi(name) {
  const element = document.createElement("bdi");
  element.textContent = name;
  return element;
}

/** @param {string} nickname @returns {number} a hue, the same wherever it is shown */
export function hueOf(nickname) {
  let hash = 0;
  for (const sign of nickname) hash = (hash * 31 + (sign.codePointAt(0) ?? 0)) % 360_007;
  return hash % 360;
}

/** @param {string} nickname @returns {string} what stands in its avatar */
export function initialOf(nickname) {
  const [first] = new Intl.Segmenter().segment(nickname);
  return first?.segment.toUpperCase() ?? "";
}
