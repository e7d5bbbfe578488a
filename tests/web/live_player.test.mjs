// The player of live frames: paced, bounded, newest first, and honest about what it dropped.

import assert from "node:assert/strict";
import { test } from "node:test";

import { livePlayer } from "../../web/js/live/player.js";

/** A player on a clock that the test moves; `decode` may be held back. */
function stage({ decode = async (bytes) => ({ bytes, close() {} }) } = {}) {
  const seen = { drawn: [], shown: [], times: [] };
  const world = { now: 0, asleep: false, callbacks: [] };
  const player = livePlayer({
    decode,
    draw: (_, { number }) => seen.drawn.push(number),
    schedule: (callback) => world.callbacks.push(callback),
    now: () => world.now,
    asleep: () => world.asleep,
    shown: (fields, latest) => seen.shown.push({ ...fields, latest: latest?.fields.number ?? null }),
    displayed: (fields, at) => seen.times.push([fields.number, Math.round(at * 1000)]),
  });
  const push = (window, count = 4, spacing = 0.04) => {
    for (let index = 0; index < count; index += 1) {
      player.push({ window, index, count, spacing, number: window * 4 + index }, new Uint8Array());
    }
  };
  /** Displays at 60 a second until `end`. */
  const run = async (end) => {
    for (; world.now < end; world.now += 1 / 60) {
      await new Promise(setImmediate);
      for (const callback of world.callbacks.splice(0)) callback();
    }
  };
  return { player, push, run, world, seen };
}

test("a window's frames are shown as far apart as they were taken", async () => {
  const { push, run, seen } = stage();
  push(0);
  await run(0.2);
  assert.deepEqual(seen.drawn, [0, 1, 2, 3]);
  for (const [number, at] of seen.times) assert.ok(at - number * 40 >= 0 && at - number * 40 < 18, `${number} ${at}`);
  assert.deepEqual(seen.shown, [{ window: 0, number: 3, frames: 4, dropped: 0, latest: 3 }]);
});

test("windows that come at their pace are all shown, whatever the jitter of half a frame", async () => {
  const { push, run, world, seen } = stage();
  for (let window = 0; window < 20; window += 1) {
    await run(window * 0.16 + (window % 2) * 0.02);
    push(window);
  }
  await run(world.now + 0.3);
  assert.equal(seen.drawn.length, 80);
  assert.equal(seen.shown.reduce((sum, { dropped }) => sum + dropped, 0), 0);
});

test("windows that come too fast never add to the delay", async () => {
  const { push, run, world, seen } = stage();
  for (let window = 0; window < 50; window += 1) {
    await run(window * 0.1); // of 0.16
    push(window);
  }
  await run(world.now + 0.3);
  const last = seen.times.at(-1);
  assert.ok(last[1] - 4900 < 250, `${last}`);
  assert.equal(seen.shown.length, 50, "each window's credit returns");
  assert.equal(seen.shown.reduce((sum, { frames, dropped }) => sum + frames + dropped, 0), 200);
  assert.deepEqual(seen.drawn, [...seen.drawn].sort((one, other) => one - other), "in their order");
});

test("without a display, two windows wait at most, and the oldest goes first", () => {
  const { push, seen } = stage();
  for (let window = 0; window < 5; window += 1) push(window);
  assert.deepEqual(seen.shown.map(({ window, frames, dropped }) => [window, frames, dropped]), [[0, 0, 4], [1, 0, 4], [2, 0, 4]]);
});

test("a hidden page shows nothing and holds no credit", () => {
  const { player, push, world, seen } = stage();
  push(0);
  world.asleep = true;
  player.clear();
  push(1);
  assert.deepEqual(seen.shown.map(({ window, dropped, latest }) => [window, dropped, latest]), [[0, 4, null], [1, 4, null]]);
});

test("a frame that cannot be decoded is dropped, and its window still counts", async () => {
  const decode = async () => Promise.reject(new Error("no picture"));
  const { push, run, seen } = stage({ decode });
  push(0);
  await run(0.3);
  assert.deepEqual(seen.shown, [{ window: 0, number: 3, frames: 0, dropped: 4, latest: null }]);
});

test("frames without spacing are shown at once: the newest of them", async () => {
  const { push, run, seen } = stage();
  push(0, 4, 0);
  await run(0.02);
  assert.deepEqual(seen.drawn, [3]);
});

test("every picture is freed, also one that was decoded too late", async () => {
  let [opened, closed] = [0, 0];
  const waiting = [];
  const decode = () => new Promise((resolve) => waiting.push(() => resolve({ close: () => (closed += 1) })));
  const { player, push, run } = stage({ decode });
  push(0);
  player.clear();
  push(1);
  for (const resolve of waiting) resolve((opened += 1));
  await run(0.3);
  assert.deepEqual([opened, closed], [8, 8]);
});

test("another window's display can take over in the middle", async () => {
  const { player, push, run, world, seen } = stage();
  push(0);
  world.callbacks.length = 0; // that window was closed
  player.wake();
  await run(0.3);
  assert.equal(seen.drawn.length, 4);
});
