// The live panel's words: complete in every language, and one sentence for every state.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { doorOf, tokenIn } from "../../web/js/live/page.js";
import { settingOf } from "../../web/js/live/settings.js";
import { stateOf } from "../../web/js/live/state.js";
import { waitingText } from "../../web/js/live/waiting.js";
import { liveLanguage, liveWords } from "../../web/js/live/words.js";

const places = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
const en = liveWords("en");

for (const language of ["zh", "ko", "ja"]) {
  test(`${language} has every text of en, with the same places to fill in`, () => {
    const other = liveWords(language);
    assert.deepEqual(Object.keys(other), Object.keys(en));
    for (const key of Object.keys(en)) {
      assert.deepEqual(places(other[key]), places(en[key]), key);
      assert.notEqual(other[key], en[key], key);
    }
  });
}

test("a locale's language counts; other languages get English", () => {
  assert.equal(liveWords("ja-JP"), liveWords("ja"));
  for (const locale of ["fr", undefined, "", "constructor"]) assert.equal(liveWords(locale), en);
});

test("every text is used, and every text that is used is there", () => {
  const sources = ["board", "mjpeg", "panel", "recording", "reference", "settings", "shooting", "sound", "state", "view", "waiting"];
  const code = sources.map((name) => readFileSync(new URL(`../../web/js/live/${name}.js`, import.meta.url), "utf8")).join();
  for (const [, key] of code.matchAll(/words\.(?!js\b)(\w+)/g)) assert.ok(Object.hasOwn(en, key), key);
  const composed = /^(said_|over|camera|microphone|face|smoothing|insecure)|Title$/;
  const named = (key) => new RegExp(`\\b${key}\\b`).test(code);
  for (const key of Object.keys(en)) assert.ok(composed.test(key) || named(key), key);
});

const CALM = { link: "open", over: null, problem: null, camera: "on", said: { word: "running", text: "Live.", values: {} } };
const told = (changes, words = en) => {
  const { tone, text } = stateOf({ ...CALM, ...changes }, words);
  return [tone, text];
};

test("the most important state is the one that is told", () => {
  const refused = { word: "cameraRefused", message: "Permission denied" };
  assert.deepEqual(told({}), ["good", en.said_running]);
  assert.deepEqual(told({ camera: "off" }), ["wait", en.ready]);
  assert.deepEqual(told({ camera: "opening" }), ["wait", en.starting]);
  assert.deepEqual(told({ camera: "off", problem: refused }), ["bad", en.cameraRefused]);
  assert.deepEqual(told({ link: "lost", problem: refused }), ["wait", en.lost]);
  assert.deepEqual(told({ link: "connecting", said: null }), ["wait", en.connecting]);
  assert.deepEqual(told({ link: "lost", over: { why: "taken", text: "" } }), ["bad", en.overTaken]);
  assert.deepEqual(told({ camera: "none", said: null }), ["wait", en.said_waiting]);
});

test("a failure is told in its own words, a state in the page's language", () => {
  const failed = { word: "failed", text: "no face: choose another picture", values: {} };
  assert.deepEqual(told({ said: failed }, liveWords("ja")), ["bad", failed.text]);
  assert.deepEqual(told({ said: { word: "no_face", text: "x" } }, liveWords("ko")), ["wait", liveWords("ko").said_no_face]);
  assert.deepEqual(told({ said: { word: "new_word", text: "as the server says" } }), ["wait", "as the server says"]);
  assert.deepEqual(told({ over: { why: "failed", text: "out of memory" } }), ["bad", "The session has failed: out of memory"]);
  const slow = { seconds: 3.2, delay: 13, model: "small", device: "cpu", remedy: "x", offers: ["record"] };
  const [tone, text] = told({ said: { word: "too_slow", text: "x", values: slow } });
  assert.equal(tone, "bad");
  assert.match(text, /3.2 s .* small .* cpu, .* 13 s later: record the camera/);
  assert.match(told({ said: { word: "too_slow", values: { ...slow, offers: ["small", "record"] } } })[1], /use the small model/);
  assert.deepEqual(told({ over: { why: "other", text: "why" } }), ["bad", "why"]);
});

test("settings are sent as the server takes them", () => {
  assert.equal(settingOf("rotation", { value: "0.35" }), 0.35);
  assert.deepEqual([settingOf("smoothing", { value: "" }), settingOf("smoothing", { value: "2.5" })], [null, 2.5]);
  assert.equal(settingOf("mark", { type: "checkbox", checked: true, value: "on" }), true);
  assert.equal(settingOf("face", { type: "select-one", value: "left" }), "left");
});

test("a page says that it is in the language that its texts are in", () => {
  assert.deepEqual(["ko-KR", "zh-TW", "de-DE", undefined].map(liveLanguage), ["ko", "zh", "en", "en"]);
  for (const script of ["page.js", "waiting.js"]) {
    const text = readFileSync(new URL(`../../web/js/live/${script}`, import.meta.url), "utf8");
    assert.match(text, /documentElement\.lang = liveLanguage\(/);
  }
});

test("the token is read from fragment or query", () => {
  const read = (text) => tokenIn(new URL(`http://127.0.0.1/${text}`));
  assert.deepEqual(["#token=a-b_c", "?token=x", "?token=x#token=y", "", "#other"].map(read), ["a-b_c", "x", "y", null, null]);
});

test("how long all sessions are taken is told in minutes, and in seconds at the end", () => {
  const when = (seconds, words = en) => /about (.*):/.exec(waitingText(seconds, words))[1];
  assert.deepEqual([600, 61, 60, 59.2, 1].map((seconds) => when(seconds)), ["10 min", "2 min", "1 min", "60 s", "1 s"]);
  assert.match(waitingText(61, liveWords("ja")), /2 分/);
});

test("a page behind a front door begins another session there, any other where it is", () => {
  assert.deepEqual([doorOf({ pathname: "/live" }), doorOf({ pathname: "/" })], ["/", null]);
});

test("a lost machine, a session's time and a session that is past are told", () => {
  for (const why of ["Lost", "Time", "Past"])
    assert.deepEqual(told({ over: { why: why.toLowerCase(), text: "x" } }), ["bad", en[`over${why}`]]);
});

test("Korean texts choose the particle after a word that is known", () => {
  const open = /[가-힣](을\(를\)|은\(는\)|이\(가\)|와\(과\)|\(으\)로)/;
  assert.deepEqual(Object.values(liveWords("ko")).filter((text) => open.test(text)), []);
});
