// How the page calls for attention while nobody looks: the count in its title and, for who wants them, notifications.

import { t } from "../i18n/i18n.js";
import { remember, remembered } from "./preferences.js";

/** @import {Store} from "../store/store.js" */

const supported = "Notification" in globalThis;

export const notificationsDenied = () => !supported || Notification.permission === "denied";

export const notificationsAllowed = () =>
  supported && Notification.permission === "granted" && remembered("notify") === "yes";

/** @param {boolean} wanted by the reader, who has just said so */
export async function allowNotifications(wanted) {
  if (wanted && supported && Notification.permission === "default") await Notification.requestPermission();
  remember("notify", wanted && !notificationsDenied() ? "yes" : "");
}

/** @param {Store} store */
export function callForAttention(store) {
  store.watch(["unread"], (changes) => {
    const { unread, messages } = store;
    document.title = unread ? t("title.unread", { unread }) : t("title");
    const newest = messages.get([...(changes.get("unread") ?? [])].at(-1) ?? "");
    if (newest && document.hidden && notificationsAllowed()) notify(newest.nickname, newest.text);
  });
}

/** @param {string} title @param {string} body */
function notify(title, body) {
  try {
    // One at a time: the newest takes the place of the one before.
    const notification = new Notification(title, { body: body.slice(0, 200), tag: "cloudchat" });
    notification.addEventListener("click", () => {
      window.focus();
      notification.close();
    });
  } catch {
    // Some browsers let only service workers notify.
  }
}
