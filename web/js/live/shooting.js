// The camera of a panel: opens and closes it, lists the choices, and goes on by itself when it is plugged in again.

import { closeStream, DeviceProblem, listCameras, openCamera } from "./camera.js";

/**
 * `video` shows the camera, `watch(video or null)` is told whose frames to take, `changed(state, problem)` gets "off",
 * "opening" or "on", and a DeviceProblem or null; `listed(cameras, chosen id)` the list whenever it is known anew.
 * Returns {start, stop, choose, twin, close}.
 */
export function shooting({ video, watch, changed, listed }) {
  let [stream, wanted, round, gone, twin] = [null, "", 0, false, null];
  let [busy, known] = [false, []]; // whether it is open or opening; ids of the cameras that are there
  const devices = navigator.mediaDevices;

  const list = async () => {
    const cameras = await listCameras();
    known = cameras.map(({ id }) => id).filter((id) => id !== "");
    listed(cameras, wanted);
  };
  const release = () => {
    round += 1;
    busy = gone = false;
    watch(null);
    closeStream(stream);
    stream = video.srcObject = null;
    if (twin) twin.srcObject = null;
  };
  const lose = () => {
    release();
    gone = true;
    changed("off", new DeviceProblem("cameraUnplugged", ""));
    list();
  };
  async function show(mine) {
    await Promise.all([video, twin].filter(Boolean).map(async (one) => {
      if (one.srcObject !== stream) one.srcObject = stream; // to set it anew would break off its play()
      try {
        await one.play();
      } catch (error) {
        if (one === video || one === twin) throw error; // else its window has gone
      }
    }));
    if (mine === round) watch(twin ?? video);
  }
  async function start() {
    release();
    busy = true;
    const mine = round;
    changed("opening", null);
    try {
      const opened = await openCamera(wanted);
      if (mine !== round) return closeStream(opened); // stopped or chosen anew meanwhile
      stream = opened;
      const [track] = stream.getVideoTracks();
      track.onended = lose;
      wanted = track.getSettings().deviceId ?? wanted;
      await show(mine);
    } catch (error) {
      if (mine !== round) return undefined;
      release();
      return changed("off", error instanceof DeviceProblem ? error : new DeviceProblem("cameraFailed", error.message));
    }
    if (mine === round) changed("on", null);
    return list();
  }
  const replugged = async () => {
    await list();
    if (gone && known.includes(wanted)) start();
  };
  devices?.addEventListener?.("devicechange", replugged);
  list();

  return {
    /** Opens the chosen camera; one that is no longer there gives way to the first, which the list then shows. */
    start() {
      if (wanted !== "" && known.length > 0 && !known.includes(wanted)) [wanted] = known;
      return start();
    },
    stop() {
      release();
      changed("off", null);
    },
    /** Another camera; it is opened at once if one is open or opening, or was unplugged while it was open. */
    choose(id) {
      wanted = id;
      if (busy || gone) start();
    },
    /** A second video, in a window that stays visible when the page does not: its frames are taken instead. */
    async twin(other) {
      if (twin) twin.srcObject = null;
      twin = other;
      if (stream !== null) await show(round);
    },
    close() {
      release();
      devices?.removeEventListener?.("devicechange", replugged);
    },
  };
}
