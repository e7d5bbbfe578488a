// Messages of the live connection: the bytes are those of the server (tests/live/test_page_messages.py holds that).

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { pack, unpack } from "../../web/js/live/protocol.js";

const recorded = JSON.parse(readFileSync(new URL("./live_messages.json", import.meta.url)));
const bytesOf = (hex) => new Uint8Array(hex.match(/../g)?.map((pair) => parseInt(pair, 16)) ?? []);
const hexOf = (bytes) => Buffer.from(bytes).toString("hex");

for (const { kind, fields, payload, bytes } of recorded) {
  test(`${kind}: the page writes and reads the server's bytes`, () => {
    assert.equal(hexOf(pack(kind, fields, bytesOf(payload))), bytes);
    const message = unpack(bytesOf(bytes).buffer);
    assert.deepEqual([message.kind, message.fields, hexOf(message.payload)], [kind, fields, payload]);
  });
}

test("what is no message is refused", () => {
  const headed = (text) => Uint8Array.from([0, 0, 0, text.length, ...Buffer.from(text, "latin1")]).buffer;
  const lengths = [new ArrayBuffer(3), bytesOf("00001001").buffer, bytesOf("ffffffff").buffer, "text"];
  for (const one of [...lengths, ...["[]", "null", "{}", '{"kind":1}', "{", "\xff"].map(headed)]) {
    assert.throws(() => unpack(one), TypeError);
  }
  const long = `{"kind":"x"${" ".repeat(5000)}}`;
  const whole = Uint8Array.from([0, 0, long.length >> 8, long.length & 255, ...Buffer.from(long)]);
  assert.throws(() => unpack(whole.buffer), TypeError, "a header that is too long, though it is whole");
  assert.throws(() => pack("x", { text: "a".repeat(4096) }), RangeError);
  assert.throws(() => pack("x", { text: "字".repeat(700) }), RangeError, "counted in the bytes that are sent");
});
