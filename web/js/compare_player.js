// The player of a finished or stopped film, as wide as the node; the driving beside it on demand, synchronised.

import { addPanel, element, setText, svgElement } from "./dom.js";
import { playerHeight } from "./fit.js";
import { followNode } from "./presence.js";
import { catchUp, drivingTime } from "./step.js";
import { fill } from "./strings.js";

const MARGINS = 20; // of the panel in the node, left and right together, while its width is not known
const ICONS = {
  play: "M3 1v12l10-6z",
  pause: "M3 1h3v12H3zM8 1h3v12H8z",
  sound: "M1 5h3l4-4v12L4 9H1zM10 4a4 4 0 0 1 0 6z",
  silent: "M1 5h3l4-4v12L4 9H1zM9 5l1-1 4 5-1 1z",
};

function video(caption) {
  const player = element("video", { preload: "auto", playsinline: "" });
  return { player, frame: element("figure", {}, player, element("figcaption", {}, caption)) };
}

function setButton(button, icon, title) {
  button.title = title;
  button.setAttribute("aria-label", title);
  const path = svgElement("path", { d: ICONS[icon] });
  button.replaceChildren(svgElement("svg", { class: "icon", viewBox: "0 0 14 14" }, path));
}

/** Ignores a rejected play(): a pause came first, which is fine, or the video failed, which `onerror` reports. */
function play(player) {
  player.play().catch(() => {});
}

/** Synchronises `driving` with `result`. `exact` seeks instead of changing the playback rate. */
function follow(driving, result, start, exact) {
  if (!(driving.duration > 0)) return;
  const target = drivingTime(result.currentTime, start, driving.duration);
  const { seek, rate } = catchUp(target - driving.currentTime, exact || result.paused);
  if (seek) driving.currentTime = target;
  driving.playbackRate = rate;
  if (result.paused) driving.pause();
  else if (driving.paused && target < driving.duration) play(driving);
}

function playerElements(words) {
  const [driving, result] = [video(words.driving), video(words.result)];
  driving.player.muted = true;
  result.player.loop = true;
  driving.frame.hidden = true;
  const [playButton, muteButton] = [element("button", { type: "button" }), element("button", { type: "button" })];
  const toggle = { type: "button", title: words.besideTitle, "aria-pressed": "false" };
  const besideButton = element("button", toggle, words.driving);
  const position = { type: "range", min: "0", max: "0", step: "0.01", value: "0" };
  const scrubber = element("input", { ...position, title: words.position, "aria-label": words.position });
  const line = element("div", { class: "personalive-line personalive-error", hidden: "" });
  const videos = element("div", { class: "personalive-videos" }, driving.frame, result.frame);
  const bar = element("div", { class: "personalive-bar" }, playButton, scrubber, besideButton, muteButton);
  const root = element("div", {}, videos, bar, line);
  return { driving, result, playButton, muteButton, besideButton, scrubber, line, root };
}

/** Connects the buttons and the scrubber to the result video, and the driving video to the result. */
function connect({ driving, result, playButton, muteButton, scrubber }, words, startOf) {
  const [master, follower] = [result.player, driving.player];
  const showTime = () => {
    const length = Number.isFinite(master.duration) ? master.duration : 0; // a stopped film may not know its length
    scrubber.max = String(Math.max(length, master.currentTime));
    scrubber.value = String(master.currentTime);
  };
  const step = (exact) => {
    showTime();
    if (!driving.frame.hidden) follow(follower, master, startOf(), exact);
  };
  const showState = () => {
    setButton(playButton, master.paused ? "play" : "pause", master.paused ? words.play : words.pause);
    setButton(muteButton, master.muted ? "silent" : "sound", master.muted ? words.unmute : words.mute);
  };
  playButton.onclick = () => (master.paused ? play(master) : master.pause());
  muteButton.onclick = () => (master.muted = !master.muted);
  scrubber.oninput = () => (master.currentTime = Number(scrubber.value));
  master.ondurationchange = showTime;
  master.ontimeupdate = () => step(false);
  master.onseeked = follower.onloadeddata = () => step(true);
  master.onplay = master.onpause = () => {
    showState();
    step(true);
  };
  master.onvolumechange = showState;
  showState();
}

const aspectOf = ({ player }) => player.videoWidth / player.videoHeight;

/** Shows a file in a player, or nothing. */
function load({ player, frame }, url, failed) {
  frame.hidden = url === null;
  player.onerror = url === null ? null : failed;
  if (url === null) {
    player.pause();
    player.removeAttribute("src");
    player.load(); // lets the file go
  } else if (player.getAttribute("src") !== url) player.src = url;
}

/** Adds the player, hidden until there is a film. Returns a function that shows {driving, result}; null hides it. */
export function comparePlayer(node, { words, place, viewUrl }) {
  const parts = playerElements(words);
  const { driving, result, besideButton, line, root } = parts;
  const setHeight = addPanel(node, "personalive_compare_panel", root, place);
  let shown = null; // {driving, result}: the files' addresses, or null
  let [start, beside] = [0, false];
  connect(parts, words, () => start);
  const fit = () => {
    const seen = [driving, result].filter(({ frame }) => !frame.hidden);
    const width = root.clientWidth || node.size[0] - MARGINS;
    setHeight(shown === null ? 0 : playerHeight(width, seen.map(aspectOf)));
  };
  const showDriving = () => {
    besideButton.hidden = !shown?.driving;
    besideButton.setAttribute("aria-pressed", String(beside));
    load(driving, (beside && shown?.driving) || null, () => setText(line, words.drivingFailed));
    fit();
  };
  besideButton.onclick = () => {
    beside = !beside;
    showDriving();
  };
  for (const { player } of [driving, result]) player.addEventListener("loadedmetadata", fit);
  new ResizeObserver(fit).observe(root);
  followNode(node, () => {
    for (const { player } of [driving, result]) player.pause();
  });

  return (output) => {
    shown = output && { result: viewUrl(output.result), driving: output.driving && viewUrl(output.driving) };
    start = output?.driving?.start ?? 0;
    setText(line, "");
    const failed = () => setText(line, fill(words.videoFailed, { name: output.result.filename }));
    load(result, shown?.result ?? null, failed);
    showDriving();
  };
}
