// Runs the live panel on the page of its own (page.html); on any other page it does nothing.

import { element } from "../dom.js";
import { socketUrl } from "./link.js";
import { livePanel } from "./panel.js";
import { liveWords } from "./words.js";

const KEY = "personalive.token";

/** The token in an address's fragment or query, such as #token=abc; null for none. */
export function tokenIn({ hash, search }) {
  const values = [hash, search].map((part) => new URLSearchParams(part.slice(1)).get("token"));
  return values.find((value) => value !== null) ?? null;
}

/** The token, taken out of the address bar. This tab remembers it, so that the page can be loaded again. */
function takeToken() {
  const given = tokenIn(location);
  if (given === null) return sessionStorage.getItem(KEY) ?? "";
  sessionStorage.setItem(KEY, given);
  history.replaceState(null, "", location.pathname);
  return given;
}

const root = globalThis.document?.getElementById("personalive-live-page");
if (root) {
  const words = liveWords(navigator.language);
  document.documentElement.lang = navigator.language;
  root.append(element("h1", {}, "PersonaLive"));
  livePanel(root, { words, socketUrl: socketUrl(location), token: takeToken() });
}
