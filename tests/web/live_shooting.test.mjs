// The camera of a panel beside its own window, with stand-ins for the browser's videos and cameras.

import assert from "node:assert/strict";
import { test } from "node:test";

import { shooting } from "../../web/js/live/shooting.js";

let [plugged, opened, replug] = [["a"], [], null];

/** A stream of the camera that is asked for, or of the first. */
function stream({ video: { deviceId } }) {
  const id = deviceId?.exact ?? plugged[0];
  if (!plugged.includes(id)) throw Object.assign(new Error(id), { name: "OverconstrainedError" });
  const track = { stop: () => (track.stopped = true), getSettings: () => ({ deviceId: id }) };
  opened.push({ id, track });
  return { getTracks: () => [track], getVideoTracks: () => [track] };
}

const mediaDevices = {
  getUserMedia: async (wanted) => stream(wanted),
  enumerateDevices: async () => plugged.map((deviceId) => ({ kind: "videoinput", deviceId, label: deviceId })),
  addEventListener: (_, callback) => (replug = callback),
  removeEventListener() {},
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

function stage(...cameras) {
  [plugged, opened] = [cameras.length > 0 ? cameras : ["a"], []];
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

/** Takes the open camera out of its socket. */
async function unplug() {
  const { id, track } = opened.at(-1);
  plugged = plugged.filter((one) => one !== id);
  track.onended();
  await replug();
}

const open = async ({ video }) => {
  await settle();
  video.ready();
  await settle();
};

test("after the camera was unplugged, another one that is chosen opens, and the old one no longer", async () => {
  const at = stage("a", "b", "c");
  at.camera.start();
  await open(at);
  await unplug();
  at.camera.choose("c");
  await open(at);
  plugged.push("a");
  await replug();
  assert.deepEqual(at.states, ["opening", "on", "cameraUnplugged", "opening", "on"]);
  assert.deepEqual(opened.map(({ id }) => id), ["a", "c"]);
});

test("Start opens what the list shows once the camera of before is no longer there", async () => {
  const at = stage("a", "b");
  at.camera.start();
  await open(at);
  await unplug();
  at.camera.stop();
  at.camera.start();
  await open(at);
  assert.deepEqual(at.states, ["opening", "on", "cameraUnplugged", "off", "opening", "on"]);
  assert.deepEqual(opened.map(({ id }) => id), ["a", "b"]);
});

test("an unplugged camera is waited for, and no other is taken", async () => {
  const at = stage("a", "b");
  at.camera.start();
  await open(at);
  await unplug();
  plugged.push("a");
  await replug();
  await open(at);
  assert.deepEqual(opened.map(({ id }) => id), ["a", "a"]);
});

test("another camera that is chosen while one opens is the one that is used", async () => {
  const at = stage("a", "b");
  at.camera.start();
  at.camera.choose("b");
  await open(at);
  await open(at);
  assert.deepEqual(at.states.at(-1), "on");
  assert.deepEqual(opened.filter(({ track }) => !track.stopped).map(({ id }) => id), ["b"]);
});
