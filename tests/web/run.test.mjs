// The sampler panel's memory of a run: bounded, and told in one line.

import assert from "node:assert/strict";
import { test } from "node:test";

import { keyframeDots, plotScale } from "../../web/js/plot.js";
import { advance, clock, extendCurve, hasCurve, keyframeCaption, NO_RUN, statusLine } from "../../web/js/run.js";
import { wordsFor } from "../../web/js/strings.js";

const en = wordsFor("en");
const event = {
  frame: 128, total: 1531, fps: 3.21, seconds_left: 400, threshold: 17, last: false,
  novelty: [[0, 4], [4, 18.5]],
  keyframes: [{ frame: null, image: "a" }, { frame: null, image: "b" }, { frame: 4, image: "c" }],
};

test("events add to a run without changing what came before", () => {
  const once = advance(NO_RUN, event);
  const twice = advance(once, { ...event, frame: 132, novelty: [[8, 2]], keyframes: [] });
  assert.deepEqual(twice.points, [[0, 4], [4, 18.5], [8, 2]]);
  assert.equal(twice.keyframes.length, 3);
  assert.equal(twice.frame, 132);
  assert.deepEqual(advance(NO_RUN, event), once);
  assert.equal(NO_RUN.points.length, 0);
});

test("a curve of any length keeps a bounded number of points, and every peak's height", () => {
  let curve = { stride: 1, points: [] };
  for (let frame = 0; frame < 100_000; frame += 4) {
    curve = extendCurve(curve, [[frame, frame === 40_000 ? 99 : frame % 7]], 500);
    assert.ok(curve.points.length <= 500);
  }
  assert.ok(curve.points.length > 200);
  assert.deepEqual(curve.points.find(([, value]) => value === 99), [40_000, 99]);
  const gaps = curve.points.slice(1).map(([frame], index) => frame - curve.points[index][0]);
  assert.ok(Math.max(...gaps) <= 2 * curve.stride, "thinned evenly, not only at its beginning");
});

test("points that are no numbers are left out", () => {
  assert.deepEqual(extendCurve({ stride: 1, points: [] }, [[0, null], [4, 1]]).points, [[4, 1]]);
});

test("the status line says what is known", () => {
  const run = advance(NO_RUN, event);
  assert.equal(statusLine(run, en), "frame 128 / 1531 · 3.2 frames/s · 6:40 left · 1 keyframe");
  const more = advance(run, { ...event, novelty: [], keyframes: [{ frame: 80, image: "d" }], seconds_left: null });
  assert.equal(statusLine(more, en), "frame 128 / 1531 · 3.2 frames/s · 2 keyframes");
  assert.equal(statusLine({ ...run, last: true, fps: 0 }, en), "frame 128 / 1531 · 1 keyframe");
});

test("a stopped run says where, and counts no time", () => {
  const stopped = advance(advance(NO_RUN, event), { frame: 24, stopped: true });
  assert.equal(statusLine(stopped, en), "stopped at frame 24");
  assert.equal(stopped.last, true);
  assert.equal(stopped.secondsLeft, null);
  assert.equal(statusLine(advance(NO_RUN, { stopped: true }), en), "stopped before the first frame");
  assert.equal(advance(stopped, event).stopped, false, "the next run goes on");
});

test("one point makes no curve", () => {
  assert.equal(hasCurve(advance(NO_RUN, { total: 1, novelty: [[0, 0]] })), false);
  assert.equal(hasCurve(advance(NO_RUN, event)), true);
});

test("times of seconds, minutes and hours", () => {
  assert.deepEqual([7, 400, 3723, 59.6, -1].map(clock), ["0:07", "6:40", "1:02:03", "1:00", "0:00"]);
});

test("captions name the reference, fixed keyframes and frames", () => {
  const captions = event.keyframes.map((_, index) => keyframeCaption(event.keyframes, index, en));
  assert.deepEqual(captions, ["reference", "fixed", "4"]);
});

test("the plot spans all frames and holds the threshold, and a dot sits on the curve", () => {
  const run = advance(NO_RUN, event);
  const { x, y } = plotScale(run, 200, 100);
  assert.deepEqual([x(0), x(1530)], [6, 194]);
  assert.ok(y(18.5) > 6 && y(17) > y(18.5) && y(0) === 94);
  assert.deepEqual(keyframeDots(run), [[4, 18.5]]);
  assert.deepEqual(keyframeDots({ ...run, points: [] }), [[4, 17]]);
});
