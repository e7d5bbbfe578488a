// The face picker's boxes: text, hits, drags.

import assert from "node:assert/strict";
import { test } from "node:test";

import { boxAt, boxBetween, dragBox, faceOfOption, formatBox, gripAt, parseBox } from "../../web/js/boxes.js";

const size = [640, 480];
const box = [100, 100, 200, 220];

test("a box is read as the node reads it, and written in whole pixels", () => {
  assert.deepEqual(parseBox(" 12, 30,140 ,170.5 "), [12, 30, 140, 170.5]);
  assert.deepEqual(parseBox("12 30 140 170"), [12, 30, 140, 170]);
  for (const text of ["", null, "1, 2, 3", "1, 2, 3, x", "140, 30, 12, 170", "0, 0, 0, 5", "1,2,3,4,5"]) {
    assert.equal(parseBox(text), null, String(text));
  }
  assert.equal(formatBox([12.4, 29.6, 140, 170.5]), "12, 30, 140, 171");
});

test("a click takes the smallest face under it", () => {
  const faces = [[0, 0, 400, 400], box, [500, 0, 600, 90]];
  assert.deepEqual([[150, 150], [10, 10], [550, 10], [450, 10]].map((point) => boxAt(faces, point)), [1, 0, 2, -1]);
});

test("a press takes a corner before the inside", () => {
  assert.deepEqual(gripAt(box, [205, 96], 8), { x: 2, y: 1 });
  assert.deepEqual(gripAt(box, [98, 218], 8), { x: 0, y: 3 });
  for (const point of [[150, 150], [112, 112]]) assert.equal(gripAt(box, point, 8), "inside");
  assert.equal(gripAt(box, [220, 150], 8), null);
  assert.equal(gripAt(null, [150, 150], 8), null);
  assert.equal(gripAt([100, 100, 112, 112], [106, 106], 20), "inside", "a small box can still be moved");
});

test("a drawn box is ordered, inside the picture and never too small", () => {
  assert.deepEqual(boxBetween([300, 200], [100, 50], size), [100, 50, 300, 200]);
  assert.deepEqual(boxBetween([600, 400], [900, 900], size), [600, 400, 640, 480]);
  assert.deepEqual(boxBetween([-50, 10], [-40, 60], size), [0, 10, 8, 60]);
  assert.deepEqual(boxBetween([700, 10], [720, 60], size), [632, 10, 640, 60]);
});

test("dragging moves a box without resizing it, inside the picture", () => {
  assert.deepEqual(dragBox(box, "inside", [10, -20], size), [110, 80, 210, 200]);
  assert.deepEqual(dragBox(box, "inside", [-500, 500], size), [0, 360, 100, 480]);
});

test("dragging a corner leaves the opposite one, also across it", () => {
  assert.deepEqual(dragBox(box, { x: 2, y: 3 }, [30, 40], size), [100, 100, 230, 260]);
  assert.deepEqual(dragBox(box, { x: 0, y: 1 }, [150, 10], size), [200, 110, 250, 220]);
});

test("an option names the largest face, or one by its place from the left", () => {
  const [options, faces] = [["largest", "1st", "2nd", "3rd"], [[0, 0, 9, 9], box]];
  assert.deepEqual(options.map((option) => faceOfOption(faces, options, option)), [1, 0, 1, -1]);
  assert.equal(faceOfOption([], options, "largest"), -1);
  assert.equal(faceOfOption(faces, options, "another"), -1);
});
