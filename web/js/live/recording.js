// The record button: asks the server to record, and sends the microphone's sound meanwhile if that is asked for.

import { DeviceProblem } from "./camera.js";
import { fill } from "../strings.js";
import { sendSound } from "./sound.js";

/**
 * `send(kind, fields, bytes)` sends a message, `note(text, tone)` tells, `changed()` is called when a recording begins
 * or ends, `offset()` gives the seconds by which the driving's clock is ahead of the page's, null while not known.
 * Returns {stopped, ended, known, offered, camera, close}: call `stopped()` when the server no longer records,
 * `ended()` when it tells that a film is there or has failed, `known(what)` with what it says to record when it
 * welcomes the page; `offered(said)` tells whether the session's word offers to record the camera instead, and no
 * recording is on; `camera()` does so.
 */
export function bindRecording({ record, what, sound }, words, { send, note, changed, offset }) {
  let [on, silence, busy] = [false, null, false];
  let finishing = 0; // films that were ended here and are not told yet: another recording may be on by then

  const show = () => {
    record.textContent = on ? words.stopRecord : words.record;
    record.setAttribute("aria-pressed", String(on));
    what.disabled = sound.disabled = on;
  };
  const stopped = () => {
    silence?.();
    [on, silence] = [false, null];
    show();
    changed();
  };
  const ended = () => {
    if (finishing > 0) finishing -= 1;
    else stopped();
  };
  const known = (recorded) => {
    finishing = 0;
    if (!recorded) return on ? stopped() : undefined;
    on = true; // also begun by this page before it was loaded again
    what.value = recorded;
    show();
    return changed();
  };
  const heard = ({ time, ...fields }, bytes) => {
    const ahead = offset();
    return on && ahead !== null && send("sound", { time: time + ahead, ...fields }, bytes);
  };
  const start = async () => {
    try {
      if (sound.checked) silence = await sendSound(heard);
    } catch (error) {
      const problem = error instanceof DeviceProblem ? error : new DeviceProblem("microphoneFailed", error.message);
      return note(fill(words[problem.word], { what: problem.message }), "bad");
    }
    on = send("record", { on: true, what: what.value, sound: sound.checked });
    if (!on) stopped();
    show();
    return changed();
  };
  record.onclick = async () => {
    if (busy) return;
    busy = true;
    if (on) {
      if (send("record", { on: false, what: what.value, sound: sound.checked })) finishing += 1;
      stopped();
    } else await start();
    busy = false;
  };
  show();
  const offered = (said) => !on && said?.word === "too_slow" && (said.values?.offers ?? []).includes("record");
  const camera = () => {
    what.value = "camera";
    record.click();
  };
  return { stopped, ended, known, offered, camera, close: () => silence?.() };
}
