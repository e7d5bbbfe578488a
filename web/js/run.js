// What is known of a sampler's run: grown from progress events, told in one line.

import { fill } from "./strings.js";

/** More points than a node's canvas has pixels would cost memory and show nothing. */
const MOST_POINTS = 1000;

export const NO_RUN = Object.freeze({
  frame: 0,
  total: 0,
  fps: 0,
  secondsLeft: null,
  last: false,
  threshold: null,
  stride: 1, // frames that share one point of the curve
  points: [], // [frame, novelty]
  keyframes: [], // {frame, image}; frame null: the reference first, then fixed ones
});

/** The highest point of every `stride` frames, so that what crossed the threshold stays to be seen. */
function peaks(points, stride) {
  const kept = [];
  for (const point of points) {
    const previous = kept.at(-1);
    if (previous === undefined || Math.floor(previous[0] / stride) !== Math.floor(point[0] / stride)) kept.push(point);
    else if (point[1] > previous[1]) kept[kept.length - 1] = point;
  }
  return kept;
}

/** A curve {stride, points} with points added at its end, thinned evenly to at most `most`. */
export function extendCurve({ stride, points }, added, most = MOST_POINTS) {
  const finite = added.filter((point) => point.every(Number.isFinite));
  let kept = peaks([...points, ...finite], stride);
  while (kept.length > most) {
    stride *= 2;
    kept = peaks(kept, stride);
  }
  return { stride, points: kept };
}

/** The run after an event of the server; `NO_RUN` is what the first event, or a complete run, continues. */
export function advance(before, event) {
  return {
    ...extendCurve(before, event.novelty ?? []),
    frame: event.frame ?? before.frame,
    total: event.total ?? before.total,
    fps: event.fps ?? before.fps,
    secondsLeft: event.seconds_left ?? null,
    last: Boolean(event.last),
    threshold: event.threshold ?? before.threshold,
    keyframes: [...before.keyframes, ...(event.keyframes ?? [])],
  };
}

/** Seconds as 0:07, 6:40 or 1:02:03. */
export function clock(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const tail = String(rest).padStart(2, "0");
  return hours > 0 ? `${hours}:${String(minutes).padStart(2, "0")}:${tail}` : `${minutes}:${tail}`;
}

/** The caption of a keyframe: its frame number, or what it is when it is no frame of the driving. */
export function keyframeCaption(keyframes, index, words) {
  const { frame } = keyframes[index];
  if (frame !== null) return String(frame);
  return index === 0 ? words.reference : words.fixed;
}

/** "frame 128 / 1531 · 3.2 frames/s · 6:40 left · 3 keyframes"; parts not known are left out. */
export function statusLine(run, words) {
  const count = run.keyframes.filter(({ frame }) => frame !== null).length;
  const parts = [fill(words.frame, run)];
  if (run.fps > 0) parts.push(fill(words.speed, { fps: run.fps.toFixed(1) }));
  if (run.secondsLeft !== null && !run.last) parts.push(fill(words.left, { time: clock(run.secondsLeft) }));
  if (run.keyframes.length > 0) parts.push(count === 1 ? words.keyframe : fill(words.keyframes, { count }));
  return parts.join(" · ");
}
