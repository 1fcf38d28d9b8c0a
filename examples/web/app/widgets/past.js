// The line at the beginning of a log: what there is before it.

import { write } from "../i18n/i18n.js";
import { part } from "./widget.js";

/** @import {Past} from "../store/types.js" */

/** @param {HTMLElement} element @param {Past} past */
export function showPast(element, { state }) {
  const silent = state === "more" || state === "end";
  element.hidden = silent;
  write(part(element, "span"), silent ? "" : `past.${state}`);
  part(element, "button").hidden = state !== "unreachable";
}
