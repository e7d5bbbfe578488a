// The live panel: camera in, portrait out. The same on ComfyUI's node and on the page of its own.

import { setText } from "../dom.js";
import { fill } from "../strings.js";
import { addKeyframe, figureBoard, freePictures, latestOnly, screen, setPicture } from "./board.js";
import { delayAt } from "./delays.js";
import { frameGrabber } from "./grabber.js";
import { openLink } from "./link.js";
import { decodeJpeg, livePlayer } from "./player.js";
import { copied, mjpegAddress } from "./mjpeg.js";
import { openWindow } from "./pop_out.js";
import { bindRecording } from "./recording.js";
import { bindReference } from "./reference.js";
import { bindSettings } from "./settings.js";
import { shooting } from "./shooting.js";
import { NOTICES, stateOf } from "./state.js";
import { addStyle } from "./style.js";
import { fillSelect, liveElements } from "./view.js";

const REFRESH = 500; // ms between two updates of the figures
const RENEW = 3000; // ms in which the page says that its session was lost, before it leaves for another
const MOST_REFERENCE = 32 << 20; // bytes, until the server says its limit

const seconds = () => performance.now() / 1000;

/**
 * Builds the panel in `root` and connects it to the session at `socketUrl` with its `token`. `words`: see words.js.
 * `onBegun()` is called when the session is on for this page, also once more after its end, and `onEnded({why, text})`
 * when it is over. `graphImages()` may list pictures to choose a reference from: [{name, url}], of this page's own
 * server. `live`: the camera opens at once. `renew(live)` leaves for another session after this one's end, on Start,
 * and by itself if the session's machine was lost; without it Start connects again. Returns {close}: the panel goes,
 * and the camera's light.
 */
export function livePanel(root, { words, socketUrl, token, onBegun, onEnded, graphImages, renew, live = false }) {
  const parts = liveElements(words);
  const { stage, buttons, devices } = parts;
  const is = { link: "connecting", over: null, problem: null, camera: "off", said: null }; // as stateOf takes it
  let [link, popup, hidden, wantsLive, fromServer, most] = [null, null, false, false, false, MOST_REFERENCE];
  let [dropped, reference, again, blank, leaving] = [0, null, live, true, null];

  const send = (kind, fields, bytes) => link?.send(kind, fields, bytes) ?? false;
  const note = (text, tone = "wait") => {
    setText(parts.note, text);
    parts.note.dataset.tone = tone;
  };
  const view = () => popup?.view ?? window;

  const board = figureBoard(parts.figures.values, words);
  const result = screen(stage.result);
  const film = latestOnly(screen(stage.film).show);
  const offset = () => (fromServer ? (link?.offset() ?? null) : 0); // of the clock of the driving's times
  const delayOf = ({ time }, at) => delayAt(at, time, offset());
  const grabber = frameGrabber({
    free: () => link?.free() ?? false,
    send: (number, time, jpeg) => link?.sendFrame(number, time, jpeg),
  });
  const player = livePlayer({
    decode: decodeJpeg,
    draw(picture, fields) {
      blank = false;
      result.show(picture);
      if (fields.valid) stage.guide.toggleAttribute("hidden", true);
    },
    schedule: (callback) => view().requestAnimationFrame(callback),
    now: seconds,
    asleep: () => hidden,
    displayed: (fields, at) => board.displayed(delayOf(fields, at), at),
    shown(fields, latest) {
      dropped += fields.dropped;
      send("shown", { ...fields, delay: latest && delayOf(latest.fields, latest.at) });
    },
  });
  const showSettings = bindSettings(parts.settings, words, (fields) => send("set", fields));
  const recording = bindRecording({ ...devices, record: buttons.record }, words, {
    send,
    note,
    changed: () => showState(),
    offset,
  });
  const camera = shooting({
    video: stage.video,
    watch: grabber.watch,
    changed(state, problem) {
      [is.camera, is.problem] = [state, problem];
      if (problem !== null && problem.word !== "cameraUnplugged") wantsLive = false;
      showState();
    },
    listed(cameras, chosen) {
      const text = ({ label }, index) => label || fill(words.cameraNumber, { number: index + 1 });
      const named = cameras.filter(({ id }) => id !== "");
      const choices = named.map((one, index) => ({ value: one.id, text: text(one, index) }));
      fillSelect(devices.camera, choices.length > 0 ? choices : [{ value: "", text: words.anyCamera }]);
      if (choices.some(({ value }) => value === chosen)) devices.camera.value = chosen;
    },
  });

  function showState() {
    const { tone, text } = stateOf(is, words);
    if (parts.state.textContent !== text) parts.state.textContent = text; // read aloud only when it changes
    parts.state.dataset.tone = tone;
    parts.offer.hidden = !recording.offered(is.said);
    const open = is.link === "open" && is.over === null;
    buttons.start.textContent = wantsLive ? words.pause : words.start;
    buttons.start.disabled = !open && is.over === null;
    const { stop, snapshot, record, address } = buttons;
    for (const one of [stop, snapshot, record, address, parts.settings.calibrate]) one.disabled = !open;
    parts.settings.root.disabled = parts.reference.root.disabled = !open;
    stage.video.hidden = fromServer;
    stage.film.hidden = !fromServer;
    devices.cameraRow.hidden = fromServer;
  }
  const setLive = (wanted) => {
    wantsLive = wanted;
    if (!fromServer && wanted) camera.start();
    else if (!fromServer) camera.stop();
    send(wanted ? "resume" : "pause", { why: "user" });
    stage.guide.toggleAttribute("hidden", fromServer || !wanted);
    showState();
  };

  const halt = () => {
    wantsLive = false;
    if (!fromServer) camera.stop();
  };

  const heard = {
    got({ rate }) {
      grabber.setRate(rate);
      grabber.pump();
    },
    frame: (fields, bytes) => player.push(fields, bytes),
    driving: (_, bytes) => film(bytes),
    figures: (fields) => board.server(fields),
    keyframe: (fields, bytes) => addKeyframe(parts, fields, bytes, words),
    said(fields) {
      if (!NOTICES.has(fields.word)) {
        is.said = fields;
        if (fields.word === "failed") halt(); // Start goes on
        showState();
      } else if (fields.word === "reference_changed") {
        note(words.referenceChanged, "good");
        if (reference) setPicture(parts.reference.portrait, reference);
      } else note(fields.text, "bad");
    },
    settings: showSettings,
    saved({ what, name }) {
      if (what !== "snapshot") recording.ended();
      note(fill(words.saved, { name }), "good");
    },
    failed({ what, text }) {
      if (what === "record") recording.ended();
      note(text, "bad");
    },
  };
  function opened({ source, settings, limits, can, recording: recorded }, portrait) {
    Object.assign(is, { link: "open", over: null });
    fromServer = source !== "page";
    most = limits?.reference ?? MOST_REFERENCE;
    if (fromServer) [is.camera, wantsLive] = ["none", true];
    for (const one of [buttons.snapshot, buttons.record, devices.recordRow]) one.hidden = !can.record;
    stage.guide.toggleAttribute("hidden", fromServer);
    setPicture(parts.reference.portrait, portrait);
    decodeJpeg(portrait).then((picture) => blank && result.show(picture), () => {}); // until there is a result
    showSettings(settings);
    if (hidden) send("pause", { why: "hidden" });
    recording.known(recorded);
    onBegun?.();
    showState();
    if (again && !fromServer) setLive(true);
    again = false;
  }
  function over(fields) {
    is.over = fields;
    const wasLive = wantsLive;
    if (renew && fields.why === "lost") leaving = setTimeout(() => renew(wasLive), RENEW);
    halt();
    player.clear();
    recording.stopped();
    showState();
    onEnded?.(fields);
  }
  function connect() {
    Object.assign(is, { link: "connecting", over: null, said: null });
    showState();
    link = openLink({
      url: socketUrl,
      token,
      hear: (kind, fields, bytes) =>
        kind === "welcome" ? opened(fields, bytes) : Object.hasOwn(heard, kind) && heard[kind](fields, bytes),
      changed(state, fields) {
        if (state === "over") return over(fields);
        if (state !== "lost") return undefined;
        is.link = "lost";
        player.clear();
        return showState();
      },
    });
  }

  const watchVisibility = () => {
    const now = view().document.hidden;
    if (now === hidden) return;
    hidden = now;
    if (hidden) player.clear();
    send(hidden ? "pause" : "resume", { why: "hidden" });
  };
  const popIn = () => {
    popup = null;
    result.mirror(null);
    camera.twin(null);
    buttons.popOut.setAttribute("aria-pressed", "false");
    player.wake();
    watchVisibility();
  };
  const popOut = () => {
    popup = openWindow({ title: `PersonaLive: ${words.result}`, size: 512, closed: popIn });
    if (popup === null) return note(words.popupBlocked, "bad");
    result.mirror(popup.canvas);
    if (!fromServer) camera.twin(popup.video);
    buttons.popOut.setAttribute("aria-pressed", "true");
    popup.view.document.addEventListener("visibilitychange", watchVisibility);
    player.wake();
    return watchVisibility();
  };
  const close = () => {
    clearInterval(timer);
    clearTimeout(leaving);
    document.removeEventListener("visibilitychange", watchVisibility);
    popup?.close();
    recording.close();
    camera.close();
    link?.close();
    freePictures(parts.root);
    parts.root.remove();
  };

  buttons.start.onclick = () => {
    again = is.over !== null;
    if (again && renew) renew(true);
    else if (again) connect();
    else setLive(!wantsLive);
  };
  buttons.stop.onclick = () => send("stop", {});
  buttons.snapshot.onclick = () => send("snapshot", {});
  parts.offer.onclick = () => recording.camera();
  buttons.address.onclick = async () => note(await copied(mjpegAddress(socketUrl, token), words));
  buttons.popOut.onclick = () => (popup === null ? popOut() : popup.close());
  parts.settings.calibrate.onclick = () => send("calibrate", {});
  devices.camera.onchange = () => camera.choose(devices.camera.value);
  bindReference({ ...parts.reference, area: parts.root }, words, {
    send(bytes, blob) {
      const sent = send("reference", {}, bytes);
      if (sent) reference = blob;
      return sent;
    },
    note,
    most: () => most,
    graphImages,
  });
  document.addEventListener("visibilitychange", watchVisibility);
  hidden = document.hidden;
  addStyle(document);
  root.append(parts.root);
  const timer = setInterval(() => {
    board.own(grabber.replaced() + dropped);
    board.refresh();
  }, REFRESH);
  connect();
  return { close };
}
