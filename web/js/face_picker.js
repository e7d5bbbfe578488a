// The face picker of Prepare Reference: shows the picture and its faces, and writes the chosen box to the widget.

import { formatBox, parseBox } from "./boxes.js";
import { addPanel, chain, setText } from "./dom.js";
import { isLinked, linkedFile, widgetOf } from "./graph.js";
import { drawBoxes, pickerElements } from "./picker_view.js";
import { followPointer } from "./pointer.js";
import { fill } from "./strings.js";

const EMPTY_HEIGHT = 32;
const HEIGHT = 300;

/** Polling is cheap and needs no hooks in other nodes. It also detects undo, rewired reroutes and scripted values. */
const LOOK_EVERY_MS = 400;

/** An empty picture. size: [width, height] in pixels, null until known. note: text instead of the hint, or "". */
const NOTHING = Object.freeze({ name: "", size: null, faces: [], crop: null, note: "", failed: false });

const valueOf = (node, name) => widgetOf(node, name)?.value;
const boxOf = (node) => parseBox(valueOf(node, "face_box"));
const isFixed = (node) => isLinked(node, "face_box");

/** The input picture's file and the detector, with a key that changes when either of them changes. */
function sourceOf(node) {
  const file = linkedFile(node, "image");
  const detector = valueOf(node, "detector");
  return { file, detector, key: JSON.stringify(file && { ...file, detector }) };
}

/** The values that decide the crop of a run, as a key. The crop is shown until one of them changes. */
function choiceOf(node) {
  return JSON.stringify([isFixed(node), ...["face_box", "face", "detector"].map((name) => valueOf(node, name))]);
}

function writeBox(node, text) {
  const widget = widgetOf(node, "face_box");
  if (!widget || widget.value === text) return;
  widget.value = text;
  widget.callback?.(text);
  node.setDirtyCanvas(true, true);
}

function lineFor(node, picture, words) {
  if (isFixed(node)) return words.boxLinked;
  if (picture.note !== "") return picture.note;
  if (boxOf(node)) return words.boxHint;
  return picture.faces.length > 0 ? words.hint : words.noFace;
}

/** The panel of the picker: its image element, `show(picture)`, and `picture()`, which returns the shown picture. */
function pickerPanel(node, { words, place }) {
  const view = pickerElements(words);
  const setHeight = addPanel(node, "personalive_face_panel", view.root, place);
  let picture = NOTHING;
  const draw = (draft) => {
    const box = boxOf(node);
    drawBoxes(view, picture, draft ?? box, words);
    view.automatic.disabled = box === null || isFixed(node);
    setText(view.line, lineFor(node, picture, words));
  };
  const show = (next) => {
    picture = next;
    view.stage.hidden = view.automatic.hidden = picture.name === "";
    view.line.classList.toggle("personalive-error", picture.failed);
    setHeight(picture.name === "" ? EMPTY_HEIGHT : HEIGHT);
    draw();
  };
  const choose = (box) => {
    if (!isFixed(node)) writeBox(node, box === null ? "" : formatBox(box));
    draw();
  };
  view.image.onload = () => {
    const { naturalWidth, naturalHeight } = view.image;
    if (picture.size === null) show({ ...picture, size: [naturalWidth, naturalHeight] });
  };
  view.image.onerror = () => show({ ...NOTHING, note: fill(words.pictureFailed, picture), failed: true });
  view.automatic.onclick = view.svg.ondblclick = () => choose(null);
  view.onFace((index) => choose(picture.faces[index]));
  const current = () => ({ size: isFixed(node) ? null : picture.size, faces: picture.faces, box: boxOf(node) });
  followPointer(view.svg, current, { draw, choose });
  show({ ...NOTHING, note: words.pickerEmpty });
  return { image: view.image, show, picture: () => picture };
}

/** Adds the picker. Returns a function that shows the `personalive_faces` of a run. */
export function facePicker(node, tools) {
  const { words, viewUrl, findFaces } = tools;
  const { image, show, picture } = pickerPanel(node, tools);
  let [source, choice] = [JSON.stringify(null), choiceOf(node)];

  const lookUp = async ({ file, detector, key }) => {
    source = key;
    if (file === null) return show({ ...NOTHING, note: words.pickerEmpty });
    show({ ...NOTHING, name: file.filename, note: words.looking });
    image.src = viewUrl(file);
    const { error, width, height, faces } = await findFaces(file, detector, words);
    if (key !== source || picture().name === "") return;
    if (error) show({ ...picture(), note: error, failed: true });
    else show({ ...picture(), size: [width, height], faces, note: "" });
  };
  const look = () => {
    const next = sourceOf(node);
    if (next.key !== source) lookUp(next);
    if (choiceOf(node) === choice) return;
    choice = choiceOf(node);
    show({ ...picture(), crop: null });
  };
  let timer = null;
  chain(node, "onAdded", () => (timer ??= setInterval(look, LOOK_EVERY_MS)));
  chain(node, "onRemoved", () => {
    clearInterval(timer);
    timer = null;
  });

  return (run) => {
    const { key } = sourceOf(node);
    // With a given box the node does not detect faces: keep the known faces of the same picture.
    const same = key === source && String(picture().size) === String([run.width, run.height]);
    const faces = run.faces.length === 0 && same ? picture().faces : run.faces;
    [source, choice] = [key, choiceOf(node)];
    image.src = viewUrl(run.image);
    show({ ...NOTHING, name: run.image.filename, size: [run.width, run.height], faces, crop: run.crop });
  };
}
