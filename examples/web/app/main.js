// Where the page begins: one protocol client, one store, and the widgets that show the store.

import { browserPlatform, Client, sessionMemory } from "./cloudchat/cloudchat.js";
import { spoken } from "./language.js";
import { Store } from "./store/store.js";
import { callForAttention } from "./widgets/attention.js";
import { Widget } from "./widgets/widget.js";
import "./widgets/composer.js";
import "./widgets/connection.js";
import "./widgets/instances.js";
import "./widgets/menu.js";
import "./widgets/messages.js";
import "./widgets/nickname.js";
import "./widgets/participants.js";
import "./widgets/tabs.js";
import "./widgets/worklog.js";

/** @import {TransportName} from "./cloudchat/types.js" */

const parameters = new URLSearchParams(location.search);

/** The server of this page: a static hosting names it, else it is where the page lies. */
function serverAddress() {
  const meta = document.querySelector('meta[name="cloudchat-server"]');
  return new URL(meta?.getAttribute("content") || ".", document.baseURI);
}

/** @returns {"auto" | TransportName} */
function transport() {
  const wanted = parameters.get("transport");
  return wanted === "ws" || wanted === "sse" || wanted === "poll" ? wanted : "auto";
}

/** With the page's next frame, or without: a page that is hidden has none. @param {() => void} run */
function soon(run) {
  const timer = setTimeout(ready, 100);
  const frame = requestAnimationFrame(ready);
  function ready() {
    clearTimeout(timer);
    cancelAnimationFrame(frame);
    run();
  }
}

/** Where the browser keeps nothing for us, a reload is a new beginning. */
function tabStorage() {
  try {
    return sessionStorage;
  } catch {
    return null;
  }
}

await spoken;

const server = serverAddress();
const saved = `cloudchat state ${server.href}`;
const store = new Store(soon);
const storage = tabStorage();
if (storage) store.restore(storage, saved);
const client = new Client({
  server,
  transport: transport(),
  memory: sessionMemory(),
  after: store.cursor,
  platform: browserPlatform(),
});
store.connect(client);
for (const element of document.querySelectorAll(".widget")) if (element instanceof Widget) element.attach(store);
callForAttention(store);
if (storage) addEventListener("pagehide", () => store.save(storage, saved));
if (!client.wanted) store.me.ask(true);
client.start();
