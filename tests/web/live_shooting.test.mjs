// The camera of a panel beside its own window, with stand-ins for the browser's videos and cameras.

import assert from "node:assert/strict";
import { test } from "node:test";

import { shooting } from "../../web/js/live/shooting.js";

const track = { stop() {}, getSettings: () => ({ deviceId: "a" }) };
const stream = () => ({ getTracks: () => [track], getVideoTracks: () => [track] });
const mediaDevices = {
  getUserMedia: async () => stream(),
  enumerateDevices: async () => [{ kind: "videoinput", deviceId: "a", label: "" }],
};
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices } });

/** A video that plays once `ready()` is called; as in browsers, another stream breaks off what waits to play. */
class Video {
  #stream = null;
  #waiting = [];
  get srcObject() {
    return this.#stream;
  }
  set srcObject(value) {
    this.#stream = value;
    for (const { fail } of this.#waiting.splice(0)) fail(new Error("interrupted by a new load request"));
  }
  play() {
    return new Promise((done, fail) => this.#waiting.push({ done, fail }));
  }
  ready() {
    for (const { done } of this.#waiting.splice(0)) done();
  }
}

const settle = () => new Promise(setImmediate);

function stage() {
  const [video, states, watched] = [new Video(), [], []];
  const changed = (state, problem) => states.push(problem?.word ?? state);
  const camera = shooting({ video, watch: (one) => watched.push(one), changed, listed() {} });
  return { video, states, watched, camera };
}

test("an own window that opens while the camera does gets its pictures", async () => {
  const { video, states, watched, camera } = stage();
  camera.start();
  await settle();
  const twin = new Video();
  camera.twin(twin);
  await settle();
  video.ready();
  twin.ready();
  await settle();
  assert.deepEqual(states, ["opening", "on"]);
  assert.equal(watched.at(-1), twin);
});

test("an own window that is closed while the camera opens takes nothing with it", async () => {
  const { video, states, watched, camera } = stage();
  camera.twin(new Video());
  camera.start();
  await settle();
  camera.twin(null);
  await settle();
  video.ready();
  await settle();
  assert.deepEqual(states, ["opening", "on"]);
  assert.equal(watched.at(-1), video);
});
