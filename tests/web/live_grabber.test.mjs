// The camera's frames on their way to the server: the newest one when there is a credit, with its time.

import assert from "node:assert/strict";
import { test } from "node:test";

import { frameGrabber } from "../../web/js/live/grabber.js";

/** Encodes the number that was drawn last, once the test lets it. */
class Canvas {
  static waiting = [];
  getContext() {
    return { drawImage: (video) => (this.drawn = video.frame) };
  }
  convertToBlob() {
    const { drawn } = this;
    const blob = { arrayBuffer: async () => Uint8Array.of(drawn).buffer };
    return new Promise((resolve) => Canvas.waiting.push(() => resolve(blob)));
  }
}
globalThis.OffscreenCanvas = Canvas;

function video(timeOrigin = performance.timeOrigin) {
  return {
    frame: 0,
    ownerDocument: { defaultView: { performance: { timeOrigin } } },
    requestVideoFrameCallback(callback) {
      this.callback = callback;
      return 1;
    },
    cancelVideoFrameCallback() {
      this.callback = null;
    },
    /** The camera's next frame, at 25 a second; its callback comes 10 ms after the capture. */
    next() {
      this.frame += 1;
      const captureTime = 1000 + this.frame * 40;
      this.callback?.(captureTime + 10, { captureTime, width: 640, height: 480 });
    },
  };
}

const settle = () => new Promise(setImmediate);

function stage(credits = 9) {
  const sent = [];
  const world = { credits };
  const free = () => world.credits > sent.length;
  const send = (number, time, [drawn]) => sent.push([number, Number(time.toFixed(3)), drawn]);
  Canvas.waiting = [];
  const encode = async () => {
    for (const done of Canvas.waiting.splice(0)) done();
    await settle();
  };
  return { sent, world, encode, grabber: frameGrabber({ free, send }) };
}

test("each frame goes out with the time of its capture", async () => {
  const { sent, encode, grabber } = stage();
  const camera = video();
  grabber.watch(camera);
  for (let count = 0; count < 3; count += 1) {
    camera.next();
    await encode();
  }
  assert.deepEqual(sent, [[1, 1.04, 1], [2, 1.08, 2], [3, 1.12, 3]]);
});

test("without a credit the newest frame waits, and the others are counted", async () => {
  const { sent, world, encode, grabber } = stage(1);
  const camera = video();
  grabber.watch(camera);
  for (let count = 0; count < 5; count += 1) {
    camera.next();
    await encode();
  }
  assert.deepEqual([sent.length, grabber.replaced()], [1, 3]);
  world.credits = 2;
  grabber.pump();
  await encode();
  assert.deepEqual(sent.at(-1), [5, 1.2, 5]);
});

test("while one is encoded, the newest waits", async () => {
  const { sent, encode, grabber } = stage();
  const camera = video();
  grabber.watch(camera);
  for (let count = 0; count < 4; count += 1) camera.next();
  await encode();
  await encode();
  assert.deepEqual(sent.map(([number, , drawn]) => [number, drawn]), [[1, 1], [4, 4]]);
});

test("fewer are taken when the server wants fewer", async () => {
  const { sent, encode, grabber } = stage(99);
  const camera = video();
  grabber.watch(camera);
  grabber.setRate(5);
  grabber.setRate(null);
  for (let count = 0; count < 50; count += 1) {
    camera.next();
    await encode();
  }
  assert.ok(Math.abs(sent.length - 10) <= 1, `${sent.length}`);
  assert.equal(grabber.replaced(), 0, "frames that nobody asked for were not replaced");
});

test("a video of another window is on that window's clock", async () => {
  const { sent, encode, grabber } = stage();
  const camera = video(performance.timeOrigin + 5000);
  grabber.watch(camera);
  camera.next();
  await encode();
  assert.equal(sent[0][1], 6.04);
});

test("another video takes over, and none ends it", async () => {
  const { sent, encode, grabber } = stage();
  const [first, second] = [video(), video()];
  grabber.watch(first);
  grabber.watch(second);
  assert.equal(first.callback, null);
  second.next();
  grabber.watch(null);
  await encode();
  assert.deepEqual([sent, second.callback], [[], null]);
});
