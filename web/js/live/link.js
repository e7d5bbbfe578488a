// The page's end of the live connection: a WebSocket that is opened anew when lost, credits, and the server's clock.

import { clockOffset, clockSample } from "./delays.js";
import { backOff, upCredits } from "./pacing.js";
import { pack, unpack, VERSION } from "./protocol.js";

const PING = 1; // seconds between two pings
const SILENCE = 5; // seconds without an answer to a ping: the connection is dead
const WELCOME = 4; // seconds for an attempt to be welcomed
const SAMPLES = 20; // of the server's clock that are remembered
const CLOCK = {
  now: () => performance.now() / 1000,
  later: (callback, seconds) => setTimeout(callback, seconds * 1000),
  cancel: (timer) => clearTimeout(timer),
};
const open = (url) => new WebSocket(url);

/** The address of the live connection beside a page: the same host and port, encrypted if the page is. */
export function socketUrl({ protocol, host }, path = "/personalive/live") {
  return `${protocol === "https:" ? "wss:" : "ws:"}//${host}${path}`;
}

/**
 * Connects. `hear(kind, fields, payload)` gets every message but pong and bye. `changed(state, fields)` gets "open",
 * "lost" (it is being tried again) and once "over", with {why, text}: what the server's bye said, or why "gone".
 * Returns {send, sendFrame, free, offset, close}.
 */
export function openLink({ url, token, hear, changed, clock = CLOCK, connect = open }) {
  let [socket, timer, welcomed, over] = [null, null, false, false];
  let [lostAt, attempt, pinged] = [null, 0, null];
  let [credits, samples] = [upCredits(0), []];

  const end = (fields) => {
    if (over) return;
    over = true;
    clock.cancel(timer);
    const last = socket;
    socket = null;
    last?.close();
    changed("over", fields);
  };
  const send = (kind, fields, payload) => {
    if (socket === null || !welcomed) return false;
    socket.send(pack(kind, fields, payload));
    return true;
  };
  const lose = (one) => {
    if (over || one !== socket) return; // an older socket's farewell
    socket = null;
    clock.cancel(timer);
    one.close();
    const now = clock.now();
    if (lostAt === null) [lostAt, attempt] = [now, 0];
    const wait = backOff(attempt++, now - lostAt);
    if (wait === null) return end({ why: "gone", text: "" });
    if (welcomed || attempt === 1) changed("lost", {});
    welcomed = false;
    timer = clock.later(start, wait);
  };
  const beat = (one) => {
    if (one !== socket) return;
    const silent = pinged !== null && clock.now() - pinged > SILENCE && one.bufferedAmount === 0;
    if (silent) return lose(one);
    if (pinged === null) {
      pinged = clock.now();
      send("ping", { time: pinged });
    }
    timer = clock.later(() => beat(one), PING);
  };
  const take = (one, { kind, fields, payload }) => {
    pinged = null; // whatever was heard, the server is there
    if (kind === "bye") return end({ why: fields.why, text: fields.text ?? "" });
    if (kind === "pong") {
      samples = [...samples, clockSample(fields.time, fields.clock, clock.now())].slice(-SAMPLES);
      return undefined;
    }
    if (kind === "got") credits.got(fields.number);
    if (kind === "welcome") {
      [welcomed, lostAt, credits] = [true, null, upCredits(fields.credits.up)];
      clock.cancel(timer);
      changed("open", fields);
      beat(one);
    }
    return hear(kind, fields, payload);
  };
  function start() {
    const one = connect(url);
    [socket, pinged] = [one, null];
    one.binaryType = "arraybuffer";
    one.onopen = () => one === socket && one.send(pack("hello", { version: VERSION, token }));
    one.onmessage = ({ data }) => one === socket && take(one, unpack(data));
    one.onclose = one.onerror = () => lose(one);
    timer = clock.later(() => !welcomed && lose(one), WELCOME);
  }

  start();
  return {
    /** Sends a message; false while there is no connection. */
    send,
    /** May a frame be sent now? */
    free: () => socket !== null && welcomed && credits.free(),
    /** Sends a driving frame and spends a credit. */
    sendFrame(number, time, jpeg) {
      if (send("frame", { number, time }, jpeg)) credits.sent(number);
    },
    /** The server's clock minus the page's in seconds; null until it is known. */
    offset: () => clockOffset(samples),
    /** Closes without a word: the server keeps the session for its grace, or ends it. */
    close() {
      over = true;
      clock.cancel(timer);
      socket?.close();
      socket = null;
    },
  };
}
