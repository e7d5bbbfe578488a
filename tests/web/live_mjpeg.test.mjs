// The address for OBS.

import assert from "node:assert/strict";
import { test } from "node:test";

import { mjpegAddress } from "../../web/js/live/mjpeg.js";

test("it is on the server of the connection, with its token", () => {
  assert.equal(
    mjpegAddress("ws://127.0.0.1:8190/personalive/live", "a_b-1"),
    "http://127.0.0.1:8190/personalive/live/mjpeg?token=a_b-1",
  );
  const behindProxy = mjpegAddress("wss://example.org/comfy/api/personalive/live?clientId=1", "t");
  assert.equal(behindProxy, "https://example.org/comfy/api/personalive/live/mjpeg?clientId=1&token=t");
});
