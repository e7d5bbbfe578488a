// The record button beside what the server tells: it shows what is recorded, whatever comes late.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bindRecording } from "../../web/js/live/recording.js";
import { EN } from "../../web/js/live/words_en.js";

/** A button whose messages are kept; `world.link`: whether there is a connection. */
function stage() {
  const sent = [];
  const world = { link: true };
  const record = { setAttribute: (_, value) => (record.pressed = value === "true") };
  const [what, sound] = [{ value: "result" }, { checked: false }];
  const send = (kind, { on, what }) => world.link && sent.push(`${kind} ${on ? what : "off"}`) > 0;
  const recording = bindRecording({ record, what, sound }, EN, { send, note() {}, changed() {}, offset: () => 0 });
  return { sent, world, record, what, recording, press: () => record.onclick() };
}

test("a film that is told late does not end the recording that began meanwhile", async () => {
  const { sent, record, recording, press } = stage();
  await press();
  await press();
  await press();
  assert.deepEqual(sent, ["record result", "record off", "record result"]);
  recording.ended(); // of the first
  assert.equal(record.pressed, true);
  recording.ended(); // the second broke off
  assert.equal(record.pressed, false);
});

test("a page that is loaded again can end what is recorded", async () => {
  const { sent, record, what, recording, press } = stage();
  recording.known("camera");
  assert.deepEqual([record.pressed, record.textContent, what.value], [true, EN.stopRecord, "camera"]);
  await press();
  assert.deepEqual(sent, ["record off"]);
  recording.ended();
  assert.equal(record.pressed, false);
});

test("after a lost connection the button shows what the server still records", async () => {
  const { world, record, recording, press } = stage();
  await press();
  world.link = false;
  await press(); // the server does not hear it
  recording.known("result");
  assert.equal(record.pressed, true);
  recording.known(null); // it broke off while nobody heard it
  assert.equal(record.pressed, false);
  world.link = true;
  await press();
  recording.ended();
  assert.equal(record.pressed, false);
});
