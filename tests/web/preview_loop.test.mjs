// Previews of an edit: one question at a time, the newest values win, nothing is asked twice.

import assert from "node:assert/strict";
import { test } from "node:test";

import { askedOf, isDrawn, SLIDERS } from "../../web/js/editor_sliders.js";
import { previewLoop } from "../../web/js/preview_loop.js";

/** A loop over `state.value`, whose questions stay open until `answer` is called. */
function looped() {
  const state = { value: 0, time: 0, asked: [], shown: [], open: [] };
  const loop = previewLoop({
    read: () => ({ value: state.value }),
    ask: (token, asked) => {
      state.asked.push([token, asked.value]);
      return new Promise((resolve) => state.open.push(resolve));
    },
    show: (answer) => state.shown.push(Object.keys(answer)[0]),
    now: () => state.time,
  });
  const answer = async (given) => {
    state.open.shift()(given);
    await new Promise(setImmediate);
  };
  return { state, loop, answer };
}

const never = () => false;
const always = () => true;

test("nothing is asked before a run, nor for what it has drawn", () => {
  const { state, loop } = looped();
  loop.tick();
  loop.begin("t", always);
  loop.tick();
  assert.deepEqual(state.asked, []);
  state.value = 1;
  loop.tick();
  assert.deepEqual(state.asked, [["t", 1]]);
});

test("while one is drawn nothing is asked; then the newest values are", async () => {
  const { state, loop, answer } = looped();
  loop.begin("t", never);
  for (state.value = 1; state.value <= 5; state.value += 1) loop.tick();
  assert.deepEqual(state.asked, [["t", 1]]);
  await answer({ picture: "a" });
  state.value = 5;
  loop.tick();
  loop.tick();
  await answer({ picture: "b" });
  loop.tick();
  assert.deepEqual(state.asked, [["t", 1], ["t", 5]]);
  assert.deepEqual(state.shown, ["drawing", "picture", "drawing", "picture"]);
});

test("a server that is busy is asked again a little later", async () => {
  const { state, loop, answer } = looped();
  loop.begin("t", never);
  loop.tick();
  await answer({ busy: true });
  loop.tick();
  assert.equal(state.asked.length, 1);
  state.time = 1000;
  loop.tick();
  assert.equal(state.asked.length, 2);
});

test("an error is not asked for again until something has changed", async () => {
  const { state, loop, answer } = looped();
  loop.begin("t", never);
  loop.tick();
  await answer({ error: "no" });
  loop.tick();
  assert.equal(state.asked.length, 1);
  state.value = 2;
  loop.tick();
  assert.equal(state.asked.length, 2);
});

test("what another page's request has overtaken is asked again", async () => {
  const { state, loop, answer } = looped();
  loop.begin("t", never);
  loop.tick();
  await answer({ again: true });
  loop.tick();
  assert.equal(state.asked.length, 2);
});

test("an edit that is over asks nothing until the next run", async () => {
  const { state, loop, answer } = looped();
  loop.begin("t", never);
  loop.tick();
  await answer({ over: true });
  state.value = 3;
  loop.tick();
  assert.equal(state.asked.length, 1);
  loop.begin("u", never);
  loop.tick();
  assert.deepEqual(state.asked[1], ["u", 3]);
});

test("an answer to the run before is not shown", async () => {
  const { state, loop, answer } = looped();
  loop.begin("t", never);
  loop.tick();
  loop.begin("u", never);
  await answer({ picture: "old" });
  assert.deepEqual(state.shown, ["drawing"]);
  loop.tick();
  assert.deepEqual(state.asked[1], ["u", 0]);
});

test("after its end nothing is asked", () => {
  const { state, loop } = looped();
  loop.begin("t", never);
  loop.end();
  loop.tick();
  assert.deepEqual(state.asked, []);
});

test("values that come from other nodes are left out", () => {
  const values = { smile: 0.5, yaw: undefined, editor: "gradio", codes: "" };
  assert.deepEqual(askedOf((name) => values[name]), { editor: "gradio", codes: "", values: { smile: 0.5 } });
});

test("a run has drawn what has its values", () => {
  const run = { values: { ...SLIDERS, smile: 0.5 }, editor: "gradio", codes: "" };
  assert.equal(isDrawn({ values: { smile: 0.5, yaw: 0 }, editor: "gradio" }, run), true);
  assert.equal(isDrawn({ values: { smile: 0.6 }, editor: "gradio" }, run), false);
  assert.equal(isDrawn({ values: { smile: 0.5 }, editor: "advanced" }, run), false);
  assert.equal(isDrawn({ values: {} }, undefined), true);
});
