// The language is chosen, and its texts come, while the rest of the page is still on its way.

import { closest, speak } from "./i18n/i18n.js";
import { remembered } from "./widgets/preferences.js";

const asked = new URLSearchParams(location.search).get("lang");

/** Resolves when the page speaks. */
export const spoken = speak(closest(asked || remembered("language"), navigator.languages));
