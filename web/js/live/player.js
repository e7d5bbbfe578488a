// Shows result frames at their times: decodes, paces a window's frames, keeps a bounded queue, tells what was shown.

import { windowTimes } from "./pacing.js";

/** Windows that may wait to be shown: one is on show, one arrives. */
const MOST_WINDOWS = 2;

/** A JPEG as something to draw; its `close` frees it. */
export const decodeJpeg = (bytes) => createImageBitmap(new Blob([bytes], { type: "image/jpeg" }));

/**
 * A player that knows no page: `decode(bytes)` promises a picture with `close`, `draw(picture, fields)` shows it,
 * `schedule(callback)` calls back before the next display, `now()` is the clock in seconds, `asleep()` says that nobody
 * can see the page. `shown({window, number, frames, dropped}, entry)` is called once a window is done with, where
 * `entry` is the frame shown last ({fields, at}) or null; `displayed(fields, at)` for every frame shown.
 * Returns {push, clear, wake}.
 */
export function livePlayer({ decode, draw, schedule, now, asleep, shown, displayed }) {
  let queue = []; // entries {fields, due, picture, failed}, in their order
  let end = 0; // when the last window's frames end
  let times = null; // of the newest window
  let [frames, dropped, latest, round, waiting] = [0, 0, null, 0, false];

  const done = ({ fields }) => {
    if (fields.index !== fields.count - 1) return;
    shown({ window: fields.window, number: fields.number, frames, dropped }, latest);
    [frames, dropped] = [0, 0];
  };
  const drop = (entries) => {
    for (const entry of entries) {
      dropped += 1;
      entry.picture?.close();
      entry.gone = true;
      done(entry);
    }
  };
  const show = (entry) => {
    latest = { fields: entry.fields, at: now() };
    frames += 1;
    draw(entry.picture, entry.fields);
    entry.picture.close();
    displayed(entry.fields, latest.at);
    done(entry);
  };
  /** Takes out all that is due, shows the newest of it and drops the rest. */
  const step = () => {
    waiting = false;
    const time = now();
    const ready = queue.findLastIndex(({ due, picture, failed }) => due <= time && (picture !== null || failed));
    const passed = queue.slice(0, ready + 1);
    queue = queue.slice(ready + 1);
    const newest = passed.findLastIndex(({ picture }) => picture !== null);
    passed.forEach((entry, index) => (index === newest ? show(entry) : drop([entry])));
    wake();
  };
  function wake(anew = false) {
    if (anew) waiting = false; // the window that was to call back is gone
    if (waiting || queue.length === 0) return;
    waiting = true;
    const mine = ++round;
    schedule(() => mine === round && step());
  }
  /** Makes room: the oldest windows go when a new one comes while others still wait. */
  const bound = () => {
    const windows = [...new Set(queue.map(({ fields }) => fields.window))];
    const surplus = new Set(windows.slice(0, Math.max(0, windows.length - MOST_WINDOWS)));
    const leaving = queue.filter(({ fields }) => surplus.has(fields.window));
    queue = queue.filter(({ fields }) => !surplus.has(fields.window));
    drop(leaving);
  };
  const timesOf = ({ window, count, spacing }) => {
    if (times?.window === window) return times;
    times = { window, ...windowTimes(now(), end, spacing || 0) };
    end = times.start + count * times.spacing;
    return times;
  };

  return {
    /** A frame has come. */
    push(fields, bytes) {
      const { start, spacing } = timesOf(fields);
      const entry = { fields, due: start + fields.index * spacing, picture: null, failed: false, gone: false };
      if (asleep()) return drop([entry]);
      queue.push(entry);
      bound();
      const fail = () => (entry.failed = true);
      const keep = (picture) => (entry.gone ? picture.close() : (entry.picture = picture));
      decode(bytes).then(keep, fail);
      return wake();
    },
    /** Nothing that waits will be shown. Windows are told as done: their credits return. */
    clear() {
      const leaving = queue;
      queue = [];
      end = 0;
      drop(leaving);
    },
    /** Asks anew to be called back: before, another window's display did that. */
    wake: () => wake(true),
  };
}
