// What the live panel draws: result, figures, keyframes, pictures that come as JPEG.

import { element } from "../dom.js";
import { fill } from "../strings.js";
import { percentile, slidingWindow } from "./delays.js";
import { decodeJpeg } from "./player.js";

const SPAN = 10; // seconds that the delay's percentiles look back
const RECENT = 3; // seconds that the frame rate looks back
const MOST_KEYFRAMES = 12; // shown; older ones go

const seconds = () => performance.now() / 1000;
const milliseconds = (value) => Math.round(value * 1000);

/** Draws pictures onto a canvas of the panel, and onto that of its own window: {show(picture), mirror(canvas)}. */
export function screen(canvas) {
  let second = null;
  const paint = (target, picture) => {
    if (target.width !== picture.width) target.width = picture.width;
    if (target.height !== picture.height) target.height = picture.height;
    target.getContext("2d").drawImage(picture, 0, 0);
  };
  return {
    show(picture) {
      paint(canvas, picture);
      if (second) paint(second, picture);
    },
    /** Also shows on this canvas, from what is seen now on; null: no longer. */
    mirror(target) {
      second = target;
      if (target && canvas.width > 0) paint(target, canvas);
    },
  };
}

/** Shows the page's and the server's figures. `values` are the elements by name. */
export function figureBoard(values, words) {
  const [delays, shown] = [slidingWindow(SPAN), slidingWindow(RECENT)];
  let [server, own] = [{}, 0];
  const pair = (first, second) =>
    first == null ? "–" : fill(words.milliseconds, { first: milliseconds(first), second: milliseconds(second) });
  return {
    displayed(delay, at) {
      shown.add(at, 1);
      if (delay !== null) delays.add(at, delay);
    },
    server(figures) {
      server = figures;
    },
    /** Frames that the page itself replaced or dropped. */
    own(count) {
      own = count;
    },
    refresh() {
      const all = delays.values(seconds());
      const { step_p50: first, step_p95: second, rate, replaced } = server;
      values.fps.textContent = shown.rate(seconds()).toFixed(1);
      values.delay.textContent = pair(percentile(all, 0.5), percentile(all, 0.95));
      values.chunk.textContent = pair(first, second);
      values.rate.textContent = rate == null ? "–" : rate.toFixed(1);
      values.replaced.textContent = String((replaced ?? 0) + own);
    },
  };
}

/** Shows the latest of the pictures {bytes} that come: one decodes, one waits. */
export function latestOnly(show) {
  let [waiting, busy] = [null, false];
  return async function take(bytes) {
    waiting = bytes;
    if (busy) return;
    busy = true;
    while (waiting !== null) {
      const next = waiting;
      waiting = null;
      const picture = await decodeJpeg(next).catch(() => null);
      if (picture) show(picture);
      picture?.close();
    }
    busy = false;
  };
}

/** An address of bytes for an <img>. The one it had before is freed. */
export function setPicture(image, bytes) {
  const before = image.src;
  image.src = URL.createObjectURL(bytes instanceof Blob ? bytes : new Blob([bytes], { type: "image/jpeg" }));
  image.hidden = false;
  if (before.startsWith("blob:")) URL.revokeObjectURL(before);
}

/** Frees the addresses of all pictures in `root`, which is not shown any more. */
export function freePictures(root) {
  for (const { src } of root.querySelectorAll("img")) if (src.startsWith("blob:")) URL.revokeObjectURL(src);
}

/** Adds a keyframe to the strip. The oldest one goes when there are many. */
export function addKeyframe({ keyframes, strip }, { number }, bytes, words) {
  const image = element("img", { alt: fill(words.keyframe, { number }), title: fill(words.keyframe, { number }) });
  setPicture(image, bytes);
  strip.append(image);
  keyframes.hidden = false;
  while (strip.children.length > MOST_KEYFRAMES) {
    URL.revokeObjectURL(strip.firstChild.src);
    strip.firstChild.remove();
  }
  strip.scrollLeft = strip.scrollWidth;
}
