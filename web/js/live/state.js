// The panel's sentence for the state of connection, camera and session, in words.

import { fill } from "../strings.js";

const TONES = { running: "good", failed: "bad", too_slow: "bad", camera_lost: "bad" };

/** Words that happen: the state stays what it was. */
export const NOTICES = new Set(["reference_changed", "reference_refused"]);

/** "good", "wait" or "bad", with its text. */
const tell = (tone, text) => ({ tone, text });

function ofOver({ why, text }, words) {
  const word = `over${why.charAt(0).toUpperCase()}${why.slice(1)}`;
  const known = Object.hasOwn(words, word) ? fill(words[word], { text }) : text || words.overGone;
  return tell(why === "stopped" ? "wait" : "bad", known);
}

function ofSession({ word, text, values }, words) {
  const key = `said_${word}`;
  const tone = TONES[word] ?? "wait";
  const remedy = values?.offers?.includes("small") ? words.remedySmall : words.remedyRecord;
  return tell(tone, Object.hasOwn(words, key) ? fill(words[key], { ...values, remedy }) : text);
}

/**
 * {tone, text} of {link: "connecting", "open" or "lost"; over: null or {why, text}; problem: null or a DeviceProblem;
 * camera: "off", "opening", "on", or "none" where the driving is the server's; said: null or {word, text, values}}.
 * A word of the server's that has no translation is told in its own text.
 */
export function stateOf({ link, over, problem, camera, said }, words) {
  if (over !== null) return ofOver(over, words);
  if (link !== "open") return tell("wait", link === "lost" ? words.lost : words.connecting);
  if (problem !== null) return tell("bad", fill(words[problem.word], { what: problem.message }));
  if (camera === "opening") return tell("wait", words.starting);
  if (said?.word === "failed") return ofSession(said, words);
  if (camera === "off") return tell("wait", words.ready);
  return ofSession(said ?? { word: "waiting" }, words);
}
