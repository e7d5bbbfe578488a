// The elements of the live panel, without behaviour: stage, buttons, figures, settings, reference.

import { element, svgElement } from "../dom.js";

/** The strengths that have a slider, each from 0 to 2. */
export const STRENGTHS = ["rotation", "translation", "scale", "expression"];

/** Cutoffs in Hz that have a name. */
export const CUTOFFS = { smoothingOff: "", smoothingLight: "5", smoothingMedium: "2.5", smoothingStrong: "1" };
const FACES = { faceLargest: "largest", faceLeft: "left", faceNearest: "nearest" };
const FIGURES = ["fps", "delay", "chunk", "rate", "replaced"];

let count = 0; // of elements with an id: several panels may be on one page

const button = (text, title = "") => element("button", { type: "button", ...(title && { title }) }, text);
const option = (value, text) => element("option", { value }, text);

function labelled(text, control, ...more) {
  control.id = `personalive-live-${(count += 1)}`;
  const label = element("label", { for: control.id }, text);
  return element("div", { class: "personalive-live-row" }, label, control, ...more);
}

function tick(text, title = "") {
  const box = element("input", { type: "checkbox" });
  return { box, row: element("label", { class: "personalive-live-tick", title }, box, text) };
}

function stage(words) {
  const video = element("video", { playsinline: "", class: "personalive-live-mirror", "aria-label": words.driving });
  video.muted = true;
  const film = element("canvas", { role: "img", "aria-label": words.driving, hidden: "" });
  const circle = svgElement("circle", { cx: 50, cy: 50, r: 36 });
  const guide = svgElement("svg", { viewBox: "0 0 100 100", role: "img", "aria-label": words.guide }, circle);
  guide.append(svgElement("title", {}, words.guide));
  const result = element("canvas", { role: "img", "aria-label": words.result });
  const figure = (name, ...parts) =>
    element("figure", { class: `personalive-live-${name}` }, ...parts, element("figcaption", {}, words[name]));
  const root = element("div", { class: "personalive-live-stage" });
  root.append(figure("driving", video, film, guide), figure("result", result));
  return { root, video, film, guide, result };
}

function buttons(words) {
  const parts = {
    start: button(words.start),
    stop: button(words.stop, words.stopTitle),
    snapshot: button(words.snapshot),
    record: button(words.record),
    popOut: button(words.popOut, words.popOutTitle),
    address: button(words.address, words.addressTitle),
  };
  parts.start.classList.add("personalive-live-first");
  parts.record.setAttribute("aria-pressed", "false");
  parts.popOut.setAttribute("aria-pressed", "false");
  return { ...parts, root: element("div", { class: "personalive-live-buttons" }, ...Object.values(parts)) };
}

function figures(words) {
  const root = element("dl", { class: "personalive-live-figures" });
  const values = {};
  for (const name of FIGURES) {
    values[name] = element("dd", { "data-figure": name }, "–");
    root.append(element("div", { title: words[`${name}Title`] }, element("dt", {}, words[name]), values[name]));
  }
  return { root, values };
}

function devices(words) {
  const camera = element("select");
  const what = element("select", {}, option("result", words.recordResult), option("camera", words.recordCamera));
  const sound = tick(words.recordSound);
  const cameraRow = labelled(words.camera, camera);
  const recordRow = labelled(words.recordWhat, what, sound.row);
  return { camera, cameraRow, recordRow, what, sound: sound.box, rows: [cameraRow, recordRow] };
}

function slider(words, name) {
  const input = element("input", { type: "range", min: 0, max: 2, step: 0.05, value: 1, "data-setting": name });
  const value = element("output", {}, "1.00");
  return { input, value, row: labelled(words[name], input, value) };
}

function settings(words) {
  const mode = element("select", { "data-setting": "mode" });
  mode.append(option("quality", words.modeQuality), option("quick", words.modeQuick));
  const sliders = Object.fromEntries(STRENGTHS.map((name) => [name, slider(words, name)]));
  const smoothing = element("select", { "data-setting": "smoothing" });
  smoothing.append(...Object.entries(CUTOFFS).map(([word, value]) => option(value, words[word])));
  const face = element("select", { "data-setting": "face" });
  face.append(...Object.entries(FACES).map(([word, value]) => option(value, words[word])));
  const mark = tick(words.mark, words.markTitle);
  mark.box.dataset.setting = "mark";
  const calibrate = button(words.calibrate, words.calibrateTitle);
  const root = element("fieldset", {}, element("legend", {}, words.settings), labelled(words.mode, mode));
  root.append(...STRENGTHS.map((name) => sliders[name].row), labelled(words.smoothing, smoothing));
  root.append(labelled(words.face, face), element("div", { class: "personalive-live-row" }, mark.row, calibrate));
  return { root, mode, sliders, smoothing, face, mark: mark.box, calibrate };
}

function reference(words) {
  const portrait = element("img", { alt: words.reference, hidden: "" });
  const file = element("input", { type: "file", accept: "image/*", hidden: "", "aria-label": words.choosePicture });
  const choose = button(words.choosePicture);
  const graph = element("select", { "aria-label": words.graphPicture, hidden: "" });
  const side = element("div", {}, element("p", {}, words.referenceHint), choose, graph, file);
  const root = element("fieldset", { class: "personalive-live-reference" }, element("legend", {}, words.reference));
  root.append(element("div", { class: "personalive-live-drop" }, portrait, side));
  return { root, portrait, file, choose, graph };
}

/** Elements: {root, state, offer, note, stage, buttons, figures, keyframes, strip, devices, settings, reference}. */
export function liveElements(words) {
  const state = element("p", { class: "personalive-live-state", role: "status", "aria-live": "polite" });
  const offer = element("button", { type: "button", class: "personalive-live-offer", hidden: "" }, words.offerRecord);
  const note = element("p", { class: "personalive-live-note", role: "status", "aria-live": "polite", hidden: "" });
  const strip = element("div", { class: "personalive-live-strip" });
  const keyframes = element("section", { hidden: "", "aria-label": words.keyframes });
  keyframes.append(element("h3", {}, words.keyframes), strip);
  const parts = {
    stage: stage(words),
    buttons: buttons(words),
    figures: figures(words),
    devices: devices(words),
    settings: settings(words),
    reference: reference(words),
  };
  const left = element("div", { class: "personalive-live-main" }, state, offer, parts.stage.root);
  left.append(parts.buttons.root, note, parts.figures.root, keyframes);
  const right = element("div", { class: "personalive-live-side" }, ...parts.devices.rows, parts.settings.root);
  right.append(parts.reference.root);
  const grid = element("div", { class: "personalive-live-grid" }, left, right);
  const root = element("div", { class: "personalive-live" }, grid);
  return { root, state, offer, note, keyframes, strip, ...parts };
}

/** The choice of a `select` that may lack it: it is added. */
export function choose(select, value, text) {
  if (![...select.options].some((one) => one.value === value)) select.append(option(value, text));
  select.value = value;
}

/** Fills a `select` with [{value, text}], and keeps its choice where that is still there. */
export function fillSelect(select, choices) {
  const { value } = select;
  select.replaceChildren(...choices.map((one) => option(one.value, one.text)));
  if (choices.some((one) => one.value === value)) select.value = value;
}
