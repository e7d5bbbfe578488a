// Takes frames of a playing video at the rate the server wants, and sends the newest as JPEG when there is a credit.

import { beat } from "./pacing.js";

const MOST_WIDTH = 640;
const QUALITY = 0.85;

/** Width and height to send of a video of this size. */
export function sentSize(width, height) {
  const scale = Math.min(1, MOST_WIDTH / width);
  return [Math.round(width * scale), Math.round(height * scale)];
}

function newCanvas() {
  return globalThis.OffscreenCanvas ? new OffscreenCanvas(1, 1) : document.createElement("canvas");
}

/** What the canvas shows now as a Blob: later drawing does not change it. */
function jpegOf(canvas) {
  const options = { type: "image/jpeg", quality: QUALITY };
  if (canvas.convertToBlob) return canvas.convertToBlob(options);
  return new Promise((resolve) => canvas.toBlob(resolve, options.type, options.quality));
}

/** Seconds that the clock of a video's window is behind the page's: each window counts from its own beginning. */
export function clockShift(video) {
  const view = video.ownerDocument.defaultView ?? globalThis;
  return (view.performance.timeOrigin - performance.timeOrigin) / 1000;
}

/**
 * `free()`: may a frame be sent? `send(number, time, bytes)` sends it. Returns {watch, pump, setRate, replaced}. A
 * frame that still waits when a newer one comes is replaced, and counted.
 */
export function frameGrabber({ free, send }) {
  const canvas = newCanvas();
  const context = canvas.getContext("2d", { alpha: false });
  let [watched, request] = [null, null];
  let [rate, next, number, replaced] = [30, 0, 0, 0];
  let [waiting, encoding] = [null, false];

  async function pump() {
    if (waiting === null || encoding || !free()) return;
    const { number: mine, time } = waiting;
    waiting = null;
    encoding = true;
    try {
      const blob = await jpegOf(canvas);
      if (blob && watched !== null) send(mine, time, new Uint8Array(await blob.arrayBuffer()));
    } finally {
      encoding = false;
    }
    pump();
  }
  const seen = (video, now, { captureTime, width, height }) => {
    if (video !== watched) return;
    ask(video);
    const time = (captureTime ?? now) / 1000 + clockShift(video);
    const turn = beat(next, time, rate);
    next = turn.next;
    if (!turn.take || !width || !height) return;
    const [wide, high] = sentSize(width, height);
    if (canvas.width !== wide || canvas.height !== high) [canvas.width, canvas.height] = [wide, high];
    context.drawImage(video, 0, 0, wide, high);
    if (waiting !== null) replaced += 1;
    number += 1;
    waiting = { number, time };
    pump();
  };
  function ask(video) {
    request = video.requestVideoFrameCallback((now, metadata) => seen(video, now, metadata));
  }

  return {
    /** Takes the frames of this video from now on, and no other's; null: of none. */
    watch(video) {
      if (watched !== null) watched.cancelVideoFrameCallback(request);
      [watched, waiting] = [video, null];
      if (video !== null) ask(video);
    },
    /** A credit has come back. */
    pump,
    /** Frames a second. */
    setRate(value) {
      if (value > 0) rate = value;
    },
    replaced: () => replaced,
  };
}
