// The page's end of the live connection, on a socket and a clock of the test's.

import assert from "node:assert/strict";
import { test } from "node:test";

import { openLink, socketUrl } from "../../web/js/live/link.js";
import { pack, unpack } from "../../web/js/live/protocol.js";

function world() {
  const [sockets, timers, heard, states] = [[], new Map(), [], []];
  let [now, count] = [0, 0];
  const clock = {
    now: () => now,
    later(callback, seconds) {
      timers.set((count += 1), { at: now + seconds, callback });
      return count;
    },
    cancel: (timer) => timers.delete(timer),
  };
  const connect = () => {
    const socket = { sent: [], closed: false, bufferedAmount: 0 };
    socket.send = (bytes) => socket.sent.push(unpack(bytes.buffer));
    socket.close = () => (socket.closed = true);
    socket.say = (kind, fields = {}) => socket.onmessage({ data: pack(kind, fields).buffer });
    socket.kinds = () => socket.sent.map(({ kind }) => kind);
    sockets.push(socket);
    return socket;
  };
  const advance = (seconds) => {
    for (const end = now + seconds; ; ) {
      const due = [...timers].filter(([, { at }]) => at <= end).sort(([, one], [, other]) => one.at - other.at)[0];
      if (!due) return void (now = end);
      timers.delete(due[0]);
      now = due[1].at;
      due[1].callback();
    }
  };
  const link = openLink({
    url: "ws://here",
    token: "secret",
    hear: (kind) => heard.push(kind),
    changed: (state, fields) => states.push(fields.why ?? state),
    clock,
    connect,
  });
  const welcome = () => {
    sockets.at(-1).onopen();
    sockets.at(-1).say("welcome", { credits: { up: 2, down: 2 } });
  };
  return { link, sockets, heard, states, advance, welcome, at: () => now, timers };
}

test("it says hello first, and nothing else before it is welcome", () => {
  const { link, sockets, heard, states, welcome } = world();
  assert.equal(link.send("calibrate"), false);
  assert.equal(link.free(), false);
  welcome();
  assert.deepEqual(sockets[0].sent[0].fields, { version: 1, token: "secret" });
  assert.deepEqual([heard, states], [["welcome"], ["open"]]);
  assert.equal(link.send("calibrate", {}), true);
});

test("frames cost credits, and answers return them", () => {
  const { link, sockets, welcome } = world();
  welcome();
  link.sendFrame(1, 0.5, new Uint8Array(3));
  link.sendFrame(2, 0.6, new Uint8Array(3));
  assert.equal(link.free(), false);
  sockets[0].say("got", { number: 1, rate: 25 });
  assert.equal(link.free(), true);
});

test("a lost connection is opened anew, with fresh credits", () => {
  const { link, sockets, states, welcome, advance } = world();
  welcome();
  link.sendFrame(1, 0.5, new Uint8Array(3));
  link.sendFrame(2, 0.6, new Uint8Array(3));
  sockets[0].onclose();
  assert.equal(link.free(), false);
  advance(0.3);
  assert.equal(sockets.length, 2);
  sockets[1].onclose();
  advance(1);
  welcome();
  assert.deepEqual([sockets.length, states, link.free()], [3, ["open", "lost", "open"], true]);
  sockets[0].onclose(); // late: an older socket's
  assert.equal(link.free(), true);
});

test("a server that stays away is gone within ten seconds", () => {
  const { sockets, states, welcome, advance, at } = world();
  welcome();
  const from = at();
  for (let round = 0; round < 99 && states.at(-1) !== "gone"; round += 1) {
    sockets.at(-1).onclose();
    advance(0.5);
  }
  assert.deepEqual(states, ["open", "lost", "gone"]);
  assert.ok(at() - from <= 10.5);
});

test("a server that takes the connection but never answers is gone too", () => {
  const { states, advance, at } = world();
  advance(30);
  assert.equal(states.at(-1), "gone");
  assert.ok(at() <= 30);
});

test("silence is a loss, unless something large is still on its way", () => {
  const { sockets, states, welcome, advance } = world();
  welcome();
  advance(4);
  sockets[0].say("pong", { time: 0, clock: 50 });
  sockets[0].bufferedAmount = 9e6;
  advance(30);
  assert.deepEqual(states, ["open"]);
  sockets[0].bufferedAmount = 0;
  advance(2);
  assert.deepEqual([states.at(-1), sockets[0].closed], ["lost", true]);
});

test("pings tell the server's clock", () => {
  const { link, sockets, welcome, advance } = world();
  welcome();
  advance(0.1);
  const { time } = sockets[0].sent.at(-1).fields;
  sockets[0].say("pong", { time, clock: 100 });
  assert.ok(Math.abs(link.offset() - 99.95) < 1e-9);
});

test("a farewell is final, and told with its reason", () => {
  const { link, sockets, states, welcome, advance, timers } = world();
  welcome();
  sockets[0].say("bye", { why: "taken", text: "another page" });
  assert.equal(timers.size, 0);
  advance(30);
  assert.deepEqual([states, sockets.length, sockets[0].closed], [["open", "taken"], 1, true]);
  assert.equal(link.send("calibrate"), false);
});

test("a panel that goes takes its timers with it", () => {
  const { link, sockets, welcome, timers, states } = world();
  welcome();
  link.close();
  sockets[0].onclose();
  assert.deepEqual([timers.size, sockets[0].closed, states], [0, true, ["open"]]);
});

test("the connection is beside the page, and as private", () => {
  assert.equal(socketUrl({ protocol: "http:", host: "127.0.0.1:8190" }), "ws://127.0.0.1:8190/personalive/live");
  assert.equal(socketUrl({ protocol: "https:", host: "a.example" }, "/x"), "wss://a.example/x");
});
