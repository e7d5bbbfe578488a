// Tells a visitor, in the browser's language, how long all live sessions are taken; the answer's Refresh looks again.

import { setText } from "../dom.js";
import { fill } from "../strings.js";
import { liveLanguage, liveWords } from "./words.js";

const MINUTE = 60;

/** The sentence for a session that is free in `seconds`. */
export function waitingText(seconds, words) {
  const [text, unit] = seconds < MINUTE ? [words.seconds, 1] : [words.minutes, MINUTE];
  return fill(words.waiting, { when: fill(text, { count: Math.ceil(seconds / unit) }) });
}

const line = globalThis.document?.getElementById("personalive-waiting");
if (line) {
  const words = liveWords(navigator.language);
  document.documentElement.lang = liveLanguage(navigator.language);
  const end = performance.now() / 1000 + Number(line.dataset.seconds);
  const tell = () => setText(line, waitingText(Math.max(end - performance.now() / 1000, 1), words));
  tell();
  setInterval(tell, 1000);
}
