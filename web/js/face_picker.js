// The face picker: shows the picture, or the driving's first frame, and its faces; writes the choice to the widgets.

import { faceOfOption, formatBox, parseBox } from "./boxes.js";
import { addPanel, setText } from "./dom.js";
import { isLinked, linkedFile, widgetOf } from "./graph.js";
import { drawBoxes, pickerElements } from "./picker_view.js";
import { followPointer } from "./pointer.js";
import { isAnimal, pointsPicker } from "./points_picker.js";
import { followNode } from "./presence.js";
import { fill } from "./strings.js";

const EMPTY_HEIGHT = 32;
const HEIGHT = 300;

/** Polling is cheap and needs no hooks in other nodes. It also detects undo, rewired reroutes and scripted values. */
const LOOK_EVERY_MS = 400;

/**
 * An empty picture. size: [width, height] in pixels, null until known. detects: whether the node looks for faces, too.
 * note: text instead of the hint, or "".
 */
const NOTHING = Object.freeze({
  name: "", size: null, faces: [], detects: false, crop: null, note: "", failed: false,
});

/** The picker of a portrait: a click sets face_box. */
export const PORTRAIT = Object.freeze({ input: "image", empty: "pickerEmpty", tracks: false });

/** The picker of a driving: a click sets face, which the node then follows; a box would stay where it is. */
export const DRIVING = Object.freeze({ input: "driving", empty: "drivingEmpty", tracks: true });

const valueOf = (node, name) => widgetOf(node, name)?.value;
const boxOf = (node) => parseBox(valueOf(node, "face_box"));
const isFixed = (node) => isLinked(node, "face_box");
const optionsOf = (node) => widgetOf(node, "face")?.options?.values ?? [];

/**
 * Those of LivePortrait, whose `auto` always looks for a face. In a film it is followed, a box too; a picture may be an
 * animal's, whose points are clicked.
 */
export const SOURCE = Object.freeze({ ...PORTRAIT, auto: "yunet", points: true });
export const SOURCE_FILM = Object.freeze({
  input: "video", empty: "filmEmpty", tracks: true, hint: "filmHint", auto: "yunet",
});
export const LIVE_DRIVING = Object.freeze({ ...DRIVING, auto: "yunet" });

/** The input picture's file and the detector, with a key that changes when either of them changes. */
function sourceOf(node, { input, auto = "auto" }) {
  const file = linkedFile(node, input);
  const chosen = valueOf(node, "detector");
  const detector = chosen === "auto" ? auto : chosen;
  const start = file?.isFilm ? Number(valueOf(node, "start") ?? 0) : 0;
  return { file, detector, start, key: JSON.stringify(file && { ...file, detector, start }) };
}

/** The values that decide the crop of a run, as a key. The crop is shown until one of them changes. */
function choiceOf(node, { points }) {
  const values = ["face_box", "face", "detector", "face_points"].map((name) => valueOf(node, name));
  return JSON.stringify([isFixed(node), points && isAnimal(node), ...values]);
}

function write(node, name, value) {
  const widget = widgetOf(node, name);
  if (!widget || widget.value === value) return;
  widget.value = value;
  widget.callback?.(value);
  node.setDirtyCanvas(true, true);
}

/** Whether a click on a face sets `face`: the node follows it. Where it does not look for faces, a box is needed. */
const follows = (node, kind, picture) => kind.tracks && picture.detects && !isLinked(node, "face");

/** What the panel says below the picture. */
export function lineFor(node, kind, picture, words) {
  if (isFixed(node)) return words.boxLinked;
  if (picture.note !== "") return picture.note;
  if (boxOf(node)) return words.boxHint;
  if (picture.faces.length === 0) return picture.detects ? words.noFace : words.wholePicture;
  return follows(node, kind, picture) ? words[kind.hint ?? "trackHint"] : words.hint;
}

/** The index of the face that the node will follow, or -1 if there is a box or the node looks for none. */
function chosenFace(node, kind, picture) {
  if (!follows(node, kind, picture) || boxOf(node) !== null) return -1;
  return faceOfOption(picture.faces, optionsOf(node), valueOf(node, "face"));
}

/** What clicks and drags write: `choose(box)` a box, null for the node's own choice; `chooseFace(face, index)`. */
function writer(node, kind) {
  const choose = (box) => {
    if (isFixed(node)) return;
    write(node, "face_box", box === null ? "" : formatBox(box));
    if (box === null && kind.tracks && !isLinked(node, "face")) write(node, "face", optionsOf(node)[0]);
  };
  const chooseFace = (picture, index) => {
    const option = optionsOf(node)[index + 1]; // the first is the largest
    if (!follows(node, kind, picture) || option === undefined) return choose(picture.faces[index]);
    choose(null);
    write(node, "face", option);
  };
  return { choose, chooseFace };
}

/** The panel of the picker: `show(picture, address)`, and `picture()`, which returns the shown picture. */
function pickerPanel(node, { words, place }, kind) {
  const view = pickerElements(words);
  const setHeight = addPanel(node, "personalive_face_panel", view.root, place);
  const { choose, chooseFace } = writer(node, kind);
  let [picture, points] = [NOTHING, null];
  const isPoints = () => Boolean(points) && points.isOn();
  const drawMode = () => {
    points.draw();
    view.automatic.disabled = valueOf(node, "face_points") === "" || isLinked(node, "face_points");
    setText(view.line, picture.name === "" ? picture.note : points.line());
  };
  const draw = (draft) => {
    view.undo.hidden = !isPoints() || picture.name === "";
    view.points.setAttribute("aria-pressed", isPoints());
    view.bar.classList.toggle("personalive-prompting", !view.undo.hidden); // of one height, so that nothing jumps
    view.line.classList.toggle("personalive-error", picture.failed && view.undo.hidden);
    if (isPoints()) return drawMode();
    const box = draft ?? boxOf(node);
    drawBoxes(view, picture, { box, chosen: chosenFace(node, kind, picture) }, words);
    const isOwn = boxOf(node) === null && (!kind.tracks || valueOf(node, "face") === optionsOf(node)[0]);
    view.automatic.disabled = isOwn || isFixed(node);
    setText(view.line, lineFor(node, kind, picture, words));
  };
  const show = (next) => {
    picture = next;
    view.stage.hidden = view.automatic.hidden = picture.name === "";
    view.points.hidden = !points || picture.name === "";
    setHeight(picture.name === "" ? EMPTY_HEIGHT : HEIGHT);
    draw();
  };
  const chosen = (act) => (...values) => {
    act(...values);
    draw();
  };
  view.image.onload = () => {
    const { naturalWidth, naturalHeight } = view.image;
    if (picture.size === null) show({ ...picture, size: [naturalWidth, naturalHeight] });
  };
  view.image.onerror = () => show({ ...NOTHING, note: fill(words.pictureFailed, picture), failed: true });
  view.automatic.title = kind.tracks ? words.automaticFaceTitle : words.automaticTitle;
  view.automatic.onclick = chosen(() => (isPoints() ? points.clear() : choose(null)));
  view.svg.ondblclick = chosen(() => isPoints() || choose(null)); // points may lie close together
  const pick = chosen((index) => chooseFace(picture, index));
  view.onFace(pick);
  const isClosed = () => isFixed(node) || isPoints();
  const current = () => ({ size: isClosed() ? null : picture.size, faces: picture.faces, box: boxOf(node) });
  followPointer(view.svg, current, { draw, choose: chosen(choose), chooseFace: pick });
  points = kind.points && pointsPicker(node, { // after the faces' pointer, which has no cursor for points
    view, words, shown: () => picture, write: (value) => write(node, "face_points", value), changed: () => draw(),
  });
  show({ ...NOTHING, note: words[kind.empty] });
  return { image: view.image, show, picture: () => picture };
}

/** Asks the server for the faces of `source` and shows them; `isCurrent` says whether the answer is still wanted. */
async function lookUp({ image, show, picture }, source, { words, viewUrl, findFaces }, isCurrent) {
  const { file, detector, start } = source;
  show({ ...NOTHING, name: file.filename, note: words.looking });
  if (file.isFilm) image.removeAttribute("src");
  else image.src = viewUrl(file);
  const { error, width, height, faces, detects, image: frame } = await findFaces(file, detector, start, words);
  if (!isCurrent() || picture().name === "") return;
  if (error) return show({ ...(file.isFilm ? NOTHING : picture()), note: error, failed: true });
  show({ ...picture(), size: [width, height], faces, detects, note: "" });
  if (frame) image.src = frame;
}

/** Adds the picker of a `kind`. Returns a function that shows the `personalive_faces` of a run. */
export function facePicker(node, tools, kind = PORTRAIT) {
  const panel = pickerPanel(node, tools, kind);
  const { image, show, picture } = panel;
  let [source, choice] = [JSON.stringify(null), choiceOf(node, kind)];

  const look = () => {
    const next = sourceOf(node, kind);
    if (next.key !== source) {
      source = next.key;
      if (next.file === null) show({ ...NOTHING, note: tools.words[kind.empty] });
      else lookUp(panel, next, tools, () => next.key === source);
    }
    if (choiceOf(node, kind) === choice) return;
    choice = choiceOf(node, kind);
    show({ ...picture(), crop: null });
  };
  let timer = null;
  const end = () => {
    clearInterval(timer);
    timer = null;
  };
  followNode(node, end, () => (timer ??= setInterval(look, LOOK_EVERY_MS)));

  let queued = null; // the source when the page last made a prompt
  const box = widgetOf(node, "face_box");
  box.serializeValue = () => {
    queued = sourceOf(node, kind).key;
    return box.value;
  };

  return (run) => {
    const { key } = sourceOf(node, kind);
    if (queued !== null && queued !== key) return; // another picture was chosen meanwhile: `look` shows that
    // With a given box the node does not detect faces: keep the known faces of the same picture.
    const same = key === source && String(picture().size) === String([run.width, run.height]);
    const faces = run.faces.length === 0 && same ? picture().faces : run.faces;
    [source, choice] = [key, choiceOf(node, kind)];
    image.src = tools.viewUrl(run.image);
    const { width, height, crop, detects = false } = run;
    show({ ...NOTHING, name: run.image.filename, size: [width, height], faces, crop, detects });
  };
}
