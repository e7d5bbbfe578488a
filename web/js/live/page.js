// Runs the live panel on the page of its own (page.html); on any other page it does nothing.

import { element } from "../dom.js";
import { socketUrl } from "./link.js";
import { livePanel } from "./panel.js";
import { liveLanguage, liveWords } from "./words.js";

const KEY = "personalive.token";
const LIVE = "personalive.live"; // when the page that was live left for another session
const FRESH = 120_000; // ms in which the next session goes on by itself: later its visitor may be away

/** Where another session begins: at the front door, where many share one address; null for a page that has no other. */
export const doorOf = ({ pathname }) => (pathname === "/live" ? "/" : null);

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

/** Whether a session that was live goes on here: the camera opens by itself. */
function takesOver() {
  const at = sessionStorage.getItem(LIVE);
  sessionStorage.removeItem(LIVE);
  return at !== null && Date.now() - Number(at) < FRESH;
}

/** Leaves for another session, which is live at once if `live`; undefined where there is none. */
function leaving() {
  const door = doorOf(location);
  return door === null
    ? undefined
    : (live) => {
        if (live) sessionStorage.setItem(LIVE, String(Date.now()));
        location.assign(door);
      };
}

const root = globalThis.document?.getElementById("personalive-live-page");
if (root) {
  const words = liveWords(navigator.language);
  document.documentElement.lang = liveLanguage(navigator.language);
  root.append(element("h1", {}, "PersonaLive"));
  const [token, live, renew] = [takeToken(), takesOver(), leaving()];
  livePanel(root, { words, socketUrl: socketUrl(location), token, live, renew });
}
