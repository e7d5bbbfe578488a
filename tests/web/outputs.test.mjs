// What the server sends for the panels, and how large they show it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { playerHeight } from "../../web/js/fit.js";
import { panelOutputs } from "../../web/js/outputs.js";

test("the pack's part of an output is read from its keys", () => {
  const run = { frame: 8, keyframes: [{ frame: null, image: "data: a b" }], name: "line\nbreak" };
  const output = { video: [{ filename: "a.mp4" }], [`personalive_run ${JSON.stringify(run)}`]: [] };
  assert.deepEqual(panelOutputs(output), { personalive_run: run });
});

test("an output without our part, or none, is empty", () => {
  for (const output of [null, undefined, {}, { images: [] }, { personalive_run: [{}] }]) {
    assert.deepEqual(panelOutputs(output), {});
  }
});

test("films are as large as the width allows, and a portrait film has an end", () => {
  assert.equal(playerHeight(400, [1]), 430);
  assert.equal(playerHeight(404, [1, 1]), 230);
  assert.equal(playerHeight(404, [2, 0.5]), 430, "the higher of two counts");
  assert.equal(playerHeight(400, [NaN]), 430, "square until it is known");
  assert.equal(playerHeight(4000, [0.5]), 930);
});
