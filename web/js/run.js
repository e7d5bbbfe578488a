// The state of a sampler's run: updated by progress events, summarised in one status line.

import { fill } from "./strings.js";

/** Maximum number of curve points: more points than canvas pixels cost memory and show nothing new. */
const MOST_POINTS = 1000;

export const NO_RUN = Object.freeze({
  frame: 0,
  total: 0,
  fps: 0,
  secondsLeft: null,
  last: false,
  stopped: false, // by Cancel or an error
  threshold: null,
  stride: 1, // frames per point of the curve
  points: [], // [frame, novelty]
  keyframes: [], // {frame, image}; frame is null for the reference (first) and the fixed keyframes
});

/** Keeps the highest point of every `stride` frames, so that crossings of the threshold stay visible. */
function peaks(points, stride) {
  const kept = [];
  for (const point of points) {
    const previous = kept.at(-1);
    if (previous === undefined || Math.floor(previous[0] / stride) !== Math.floor(point[0] / stride)) kept.push(point);
    else if (point[1] > previous[1]) kept[kept.length - 1] = point;
  }
  return kept;
}

/** Appends points to a curve {stride, points} and thins it evenly to at most `most` points. */
export function extendCurve({ stride, points }, added, most = MOST_POINTS) {
  const finite = added.filter((point) => point.every(Number.isFinite));
  let kept = peaks([...points, ...finite], stride);
  while (kept.length > most) {
    stride *= 2;
    kept = peaks(kept, stride);
  }
  return { stride, points: kept };
}

/** The run after a server event. `before` is `NO_RUN` for the first event and for a complete run. */
export function advance(before, event) {
  return {
    ...extendCurve(before, event.novelty ?? []),
    frame: event.frame ?? before.frame,
    total: event.total ?? before.total,
    fps: event.fps ?? before.fps,
    secondsLeft: event.seconds_left ?? null,
    last: Boolean(event.last || event.stopped),
    stopped: Boolean(event.stopped),
    threshold: event.threshold ?? before.threshold,
    keyframes: [...before.keyframes, ...(event.keyframes ?? [])],
  };
}

/** Formats seconds as 0:07, 6:40 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** The caption of a keyframe: its driving frame number, or the word for the reference or a fixed keyframe. */
export function keyframeCaption(keyframes, index, words) {
  const { frame } = keyframes[index];
  if (frame !== null) return String(frame);
  return index === 0 ? words.reference : words.fixed;
}

/** Whether there is a curve to draw: a still picture, or the first step, has but a point. */
export function hasCurve(run) {
  return run.points.length > 1;
}

/** "frame 128 / 1531 · 3.2 frames/s · 6:40 left · 3 keyframes"; unknown parts are omitted. */
export function statusLine(run, words) {
  if (run.stopped) return run.frame > 0 ? fill(words.stopped, run) : words.stoppedEarly;
  const count = run.keyframes.filter(({ frame }) => frame !== null).length;
  const parts = [fill(words.frame, run)];
  if (run.fps > 0) parts.push(fill(words.speed, { fps: run.fps.toFixed(1) }));
  if (run.secondsLeft !== null && !run.last) parts.push(fill(words.left, { time: clock(run.secondsLeft) }));
  if (run.keyframes.length > 0) parts.push(count === 1 ? words.keyframe : fill(words.keyframes, { count }));
  return parts.join(" · ");
}
