// The face picker's points: text, hits, placing, and what the panel asks for.

import assert from "node:assert/strict";
import { test } from "node:test";

import { lineFor, SOURCE_FILM } from "../../web/js/face_picker.js";
import { linkedNode } from "../../web/js/graph.js";
import { afterPress, formatPoints, NINE, PAIRS, parsePoints, pointAt, withPoint } from "../../web/js/points.js";
import { isAnimal, pointsLine } from "../../web/js/points_picker.js";
import { fill, wordsFor } from "../../web/js/strings.js";

const size = [640, 480];
const points = [[10, 20], [30.4, 40.6], [35, 44]];

/** A node whose input `name` is connected to `source`, with widgets {name: value}. */
function nodeWith(values, source = null, name = "model") {
  const widgets = Object.entries(values).map(([key, value]) => ({ name: key, value }));
  const inputs = [{ name: "image" }, { name }];
  return { widgets, inputs, isInputConnected: (slot) => slot === 1 && source !== null, getInputNode: () => source };
}

test("points are read as the node reads them, and written in whole pixels", () => {
  assert.deepEqual(parsePoints(" 12, 30;140 ,170.5 "), [[12, 30], [140, 170.5]]);
  for (const text of ["", null, "1, 2, 3", "1, x"]) assert.deepEqual(parsePoints(text), [], String(text));
  assert.equal(formatPoints(points), "10, 20; 30, 41; 35, 44");
  assert.deepEqual(parsePoints(formatPoints(points)).length, 3);
});

test("a press takes the nearest point within reach", () => {
  assert.deepEqual([[34, 43], [31, 41], [14, 20], [200, 200]].map((place) => pointAt(points, place, 8)), [2, 1, 0, -1]);
  assert.equal(pointAt([], [0, 0], 8), -1);
});

test("a point is added after the last or moved, inside the picture", () => {
  assert.deepEqual(withPoint(points, 3, [50, 60], size), [...points, [50, 60]]);
  assert.deepEqual(withPoint(points, 1, [-5, 900], size), [[10, 20], [0, 480], [35, 44]]);
  assert.equal(points.length, 3);
});

test("a click adds a point however close, a drag moves the gripped one, and nine are enough", () => {
  const press = { grip: 2, points, point: [36, 45] };
  assert.deepEqual(afterPress(press, [37, 45], 4, size), [...points, [37, 45]]);
  assert.deepEqual(afterPress(press, [46, 55], 4, size), [...points.slice(0, 2), [45, 54]]);
  assert.deepEqual(afterPress({ ...press, grip: -1 }, [90, 90], 4, size), [...points, [90, 90]]);
  const nine = Array(9).fill([1, 2]);
  assert.deepEqual(afterPress({ grip: -1, points: nine, point: [50, 50] }, [90, 90], 4, size), nine);
});

test("pairs are of the nine, each point in one at most, the nose in none", () => {
  assert.deepEqual(PAIRS.flat(), [0, 1, 2, 3, 5, 6, 7, 8]);
  assert.ok(Math.max(...PAIRS.flat()) < NINE);
});

for (const language of ["en", "zh", "ko", "ja"]) {
  test(`${language} names every one of the nine`, () => {
    const words = wordsFor(language);
    const names = words.pointNames.split("|");
    assert.equal(new Set(names).size, NINE);
    for (const [index, name] of names.entries()) {
      const node = nodeWith({ face_points: formatPoints(Array(index).fill([1, 2])) });
      assert.equal(pointsLine(node, words), fill(words.pointNext, { number: index + 1, name }));
    }
    assert.equal(pointsLine(nodeWith({ face_points: formatPoints(Array(9).fill([1, 2])) }), words), words.pointsDone);
    assert.equal(pointsLine(nodeWith({}, {}, "face_points"), words), words.pointsLinked);
  });
}

test("the linked loader says whether it is an animal, also through a reroute", () => {
  const loader = { type: "PersonaLiveLoadLivePortrait", widgets: [{ name: "subject", value: "animal" }] };
  const reroute = { type: "Reroute", getInputNode: () => loader };
  assert.equal(linkedNode(nodeWith({}, reroute), "model"), loader);
  assert.ok(isAnimal(nodeWith({}, loader)) && isAnimal(nodeWith({}, reroute)));
  assert.ok(!isAnimal(nodeWith({}, { ...loader, widgets: [{ name: "subject", value: "human" }] })));
  assert.ok(!isAnimal(nodeWith({})) && !isAnimal({}));
});

test("in a source video a box is followed, too", () => {
  const [node, words] = [nodeWith({ face: "largest" }), wordsFor("en")];
  const shown = { faces: [[0, 0, 9, 9]], detects: true, note: "" };
  assert.equal(lineFor(node, SOURCE_FILM, shown, words), words.filmHint);
});
