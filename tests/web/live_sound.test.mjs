// The microphone's sound on its way to the server, with stand-ins for the browser's audio.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRecording } from "../../web/js/live/recording.js";
import { sendSound } from "../../web/js/live/sound.js";

const contexts = [];
let [deviceRate, stopped, refuses, noContext] = [48000, 0, false, false];

globalThis.AudioContext = class {
  constructor({ sampleRate = deviceRate } = {}) {
    if (noContext) throw new Error("no sound device");
    Object.assign(this, { sampleRate, currentTime: 0, open: true, destination: {} });
    this.audioWorklet = { addModule: async () => {} };
    contexts.push(this);
  }
  async resume() {}
  close() {
    this.open = false;
  }
  createMediaStreamSource() {
    if (refuses) throw new Error("another rate");
    return { connect() {} };
  }
};
globalThis.AudioWorkletNode = class {
  constructor() {
    this.port = {};
    AudioWorkletNode.last = this;
  }
  connect() {}
};
const track = { stop: () => (stopped += 1), getSettings: () => ({}) };
const stream = { getTracks: () => [track], getAudioTracks: () => [track] };
Object.defineProperty(globalThis, "navigator", { value: { mediaDevices: { getUserMedia: async () => stream } } });

/** The rate of what is sent from a sound device of this rate. */
async function rateOf(rate) {
  deviceRate = rate;
  const sent = [];
  const stop = await sendSound((fields) => sent.push(fields.rate));
  AudioWorkletNode.last.port.onmessage({ data: { start: 0, samples: new Float32Array(8) } });
  stop();
  return sent[0];
}

test("the device's own rate is sent, but none that no film has", async () => {
  assert.equal(await rateOf(44100), 44100);
  assert.equal(await rateOf(96000), 96000);
  assert.equal(await rateOf(192000), 48000);
  assert.deepEqual(contexts.filter(({ open }) => open), []);
});

test("sound has the times of the driving, also of the server's own camera", async () => {
  const sent = [];
  let ahead = null; // the server's clock is not known yet
  const record = { setAttribute() {} };
  const send = (kind, { time }) => sent.push(kind === "sound" ? Math.round(time - performance.now() / 1000) : kind) > 0;
  const about = { send, note() {}, changed() {}, offset: () => ahead };
  bindRecording({ record, what: { value: "result" }, sound: { checked: true } }, {}, about);
  await record.onclick();
  const piece = () => AudioWorkletNode.last.port.onmessage({ data: { start: 0, samples: new Float32Array(8) } });
  piece();
  ahead = 5000;
  piece();
  ahead = 0;
  piece();
  assert.deepEqual(sent, ["record", 5000, 0]);
  await record.onclick();
});

test("a microphone that cannot be connected is let go", async () => {
  [refuses, stopped] = [true, 0];
  await assert.rejects(sendSound(() => {}), /another rate/);
  assert.equal(stopped, 1);
  assert.deepEqual(contexts.filter(({ open }) => open), []);
});

test("a microphone without a sound context is let go", async () => {
  [noContext, stopped] = [true, 0];
  await assert.rejects(sendSound(() => {}), /no sound device/);
  assert.equal(stopped, 1);
});
