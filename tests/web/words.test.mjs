// The panels' words, and the arithmetic of the compare player.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lineFor, PORTRAIT } from "../../web/js/face_picker.js";
import { catchUp, drivingTime } from "../../web/js/step.js";
import { fill, wordsFor } from "../../web/js/strings.js";

const places = (text) => (text.match(/\{\w+\}/g) ?? []).sort();

for (const language of ["zh", "ko", "ja"]) {
  test(`${language} has every text of en, with the same places to fill in`, () => {
    const [english, other] = [wordsFor("en"), wordsFor(language)];
    assert.deepEqual(Object.keys(other), Object.keys(english));
    for (const key of Object.keys(english)) {
      assert.deepEqual(places(other[key]), places(english[key]), key);
      assert.notEqual(other[key], english[key], key);
    }
  });
}

test("a locale's language counts; other languages get English", () => {
  assert.equal(wordsFor("zh-TW"), wordsFor("zh"));
  for (const locale of ["fr", undefined, "", "constructor"]) assert.equal(wordsFor(locale), wordsFor("en"));
});

test("places are filled in", () => {
  assert.equal(fill("{a} of {b}, {a}", { a: 1, b: "x" }), "1 of x, 1");
});

test("the driving is as far past its start as the result, and stays at its end", () => {
  assert.deepEqual([drivingTime(2, 1.5, 10), drivingTime(9, 1.5, 10)], [3.5, 10]);
});

test("a small lag is made up by speed, a large one or a halt by seeking", () => {
  assert.deepEqual(catchUp(0.01, true), { seek: false, rate: 1 });
  assert.deepEqual(catchUp(0.2, false), { seek: false, rate: 1.2 });
  assert.deepEqual(catchUp(-0.2, false), { seek: false, rate: 0.8 });
  assert.deepEqual(catchUp(0.2, true), { seek: true, rate: 1 });
  assert.deepEqual(catchUp(-3, false), { seek: true, rate: 1 });
});

test("without a face the picker says what the node does: it needs a box, or takes the whole picture", () => {
  const [node, words] = [{ inputs: [], widgets: [] }, wordsFor("en")];
  const line = (detects, faces = []) => lineFor(node, PORTRAIT, { faces, detects, note: "" }, words);
  assert.equal(line(true), words.noFace);
  assert.equal(line(false), words.wholePicture);
  assert.equal(line(false, [[0, 0, 9, 9]]), words.hint);
});
