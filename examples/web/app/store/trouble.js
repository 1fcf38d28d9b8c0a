// What went wrong, in one form, whoever says it: the server, the client, or the network below it.

import { EndedError, RefusedError, UncertainError } from "../cloudchat/cloudchat.js";

/** @import {Refusal} from "../cloudchat/types.js" */
/** @import {Trouble} from "./types.js" */

/** @param {unknown} error a refusal, or what an action threw @returns {Trouble} */
export function troubleOf(error) {
  if (error instanceof RefusedError) return ofRefusal(error.reply);
  if (isRefusal(error)) return ofRefusal(error);
  const detail = error instanceof Error ? error.message : String(error);
  if (error instanceof UncertainError) return { code: "uncertain", detail };
  if (error instanceof EndedError) return { code: "ended", detail };
  return { code: "unreachable", detail };
}

/** @param {unknown} value @returns {value is Refusal} */
function isRefusal(value) {
  return typeof value === "object" && value !== null && "type" in value && value.type === "error";
}

/** @param {Refusal} refusal @returns {Trouble} */
function ofRefusal({ code, detail, suggestions }) {
  return { code, detail, suggestions };
}
