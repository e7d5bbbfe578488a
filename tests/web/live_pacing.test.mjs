// When live frames are sent and shown, and what is told of it: rates, credits, windows' times, percentiles, clocks.

import assert from "node:assert/strict";
import { test } from "node:test";

import { problemOf } from "../../web/js/live/camera.js";
import { clockOffset, clockSample, delayAt, percentile, slidingWindow } from "../../web/js/live/delays.js";
import { sentSize } from "../../web/js/live/grabber.js";
import { backOff, beat, GRACE, soundTime, upCredits, windowTimes } from "../../web/js/live/pacing.js";
import { fitted } from "../../web/js/live/reference.js";
import { toInt16 } from "../../web/js/live/sound.js";

/** How many of `seconds` of a camera's frames are taken. */
function taken(camera, rate, seconds = 10, start = 1000) {
  let [next, count] = [0, 0];
  for (let frame = 0; frame < camera * seconds; frame += 1) {
    const turn = beat(next, start + frame / camera, rate);
    next = turn.next;
    count += turn.take;
  }
  return count / seconds;
}

test("the camera's frames are taken at the wanted rate, whatever the camera's", () => {
  for (const [camera, rate] of [[30, 25], [30, 10], [60, 25], [25, 24], [30, 3.7]]) {
    assert.ok(Math.abs(taken(camera, rate) - rate) < 0.3, `${camera} ${rate} ${taken(camera, rate)}`);
  }
  for (const rate of [30, 60]) assert.equal(taken(30, rate), 30, "a slower camera gives all it has");
});

test("after a pause there is no burst to make up for it", () => {
  const { next } = beat(1, 100, 10);
  assert.ok(next > 100 && next <= 100.1);
});

test("two frames may be on their way, and an answer frees those before it too", () => {
  const credits = upCredits(2);
  credits.sent(1);
  assert.ok(credits.free());
  credits.sent(2);
  assert.ok(!credits.free());
  credits.got(2);
  credits.sent(3);
  assert.ok(credits.free());
  assert.ok(!upCredits(0).free());
});

test("a lost connection is tried again, ever slower, within its grace", () => {
  let [elapsed, waits] = [0, []];
  for (let attempt = 0; ; attempt += 1) {
    const wait = backOff(attempt, elapsed);
    if (wait === null) break;
    waits.push(wait);
    elapsed += wait;
  }
  assert.deepEqual(waits.slice(0, 5), [0.25, 0.5, 1, 2, 2]);
  assert.ok(elapsed <= GRACE && elapsed > GRACE - 2.5);
});

test("a window follows the one before it, and waits one frame at most", () => {
  assert.deepEqual(windowTimes(10, 9, 0.04), { start: 10, spacing: 0.04 });
  const early = windowTimes(10, 10.03, 0.04);
  assert.equal(early.start, 10.03);
  assert.ok(early.spacing < 0.04, "it plays faster, to make up for the wait");
  assert.equal(windowTimes(10, 99, 0.04).start, 10.04);
});

test("percentiles are by rank", () => {
  const values = Array.from({ length: 100 }, (_, index) => 100 - index);
  assert.deepEqual([percentile(values, 0.5), percentile(values, 0.95), percentile([7], 0.95)], [50, 95, 7]);
  assert.equal(percentile([], 0.5), null);
});

test("a sliding window forgets, and counts a second's values", () => {
  const window = slidingWindow(10);
  for (let time = 0; time <= 20; time += 0.5) window.add(time, time);
  assert.deepEqual([window.values(20)[0], window.values(20).length], [10.5, 20]);
  assert.ok(Math.abs(window.rate(20) - 2) < 0.01);
  assert.ok(window.rate(25) < 1.2, "what is missing counts");
  assert.deepEqual([window.values(40), window.rate(40)], [[], 0]);
});

test("the quickest answer tells another clock best", () => {
  const samples = [clockSample(1, 101.3, 1.4), clockSample(2, 102.01, 2.02), clockSample(3, 103.2, 3.9)];
  assert.ok(Math.abs(clockOffset(samples) - 100) < 1e-9);
  assert.equal(clockOffset([]), null);
});

test("sound goes on without gap, unless its clock says something else by far", () => {
  assert.deepEqual([soundTime(null, 5), soundTime(5, 5.02), soundTime(5, 5.5)], [5, 5, 5.5]);
});

test("sound is limited, and little-endian", () => {
  assert.deepEqual([...toInt16([0, 1, -1, 2, 0.5])], [0, 0, 255, 127, 1, 128, 255, 127, 0, 64]);
});

test("pictures are sent no larger than they need to be, and never enlarged", () => {
  assert.deepEqual([sentSize(1920, 1080), sentSize(320, 240)], [[640, 360], [320, 240]]);
  assert.deepEqual([fitted(8000, 4000), fitted(300, 200)], [[4096, 2048], [300, 200]]);
});

test("what went wrong with a device has a word", () => {
  const wordOf = (name, device = "camera") => problemOf(device, { name, message: "why" }).word;
  assert.deepEqual(
    ["NotAllowedError", "NotFoundError", "NotReadableError", "TypeError"].map((name) => wordOf(name)),
    ["cameraRefused", "cameraNone", "cameraBusy", "cameraFailed"],
  );
  assert.equal(wordOf("NotAllowedError", "microphone"), "microphoneRefused");
});

test("a delay needs the time of the capture and the offset of its clock", () => {
  assert.equal(delayAt(10, 9.5, 0), 0.5);
  assert.equal(delayAt(10, 5009.5, 5000), 0.5);
  assert.equal(delayAt(10, 9.5, null), null);
  assert.equal(delayAt(10, null, 0), null);
});
