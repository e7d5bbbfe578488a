// The panel of an Expression Editor node: its picture, which follows the sliders after the first run.

import { addPanel, element, setText } from "./dom.js";
import { askedOf, isDrawn, SLIDERS } from "./editor_sliders.js";
import { isLinked, widgetOf } from "./graph.js";
import { followNode } from "./presence.js";
import { previewLoop } from "./preview_loop.js";

/** Pixels: before the first run, and with a picture. */
const [EMPTY, HEIGHT] = [32, 400];

/** Polling is cheap, and sees undo and scripted values too. */
const LOOK_EVERY_MS = 60;

const valueOf = (node) => (name) => (isLinked(node, name) ? undefined : widgetOf(node, name)?.value);

/** Puts every slider back. */
function reset(node) {
  for (const [name, value] of Object.entries(SLIDERS)) {
    const widget = widgetOf(node, name);
    if (!widget || widget.value === value) continue;
    widget.value = value;
    widget.callback?.(value);
  }
  node.setDirtyCanvas(true, true);
}

function editorElements(words) {
  const image = element("img", { alt: words.result, draggable: "false" });
  const before = element("img", { alt: words.before, draggable: "false" });
  const stage = element("div", { class: "personalive-stage" }, image, before);
  const hold = element("button", { type: "button", title: words.beforeTitle }, words.before);
  const back = element("button", { type: "button" }, words.resetSliders);
  const line = element("div", { class: "personalive-line" }, words.editorEmpty);
  const bar = element("div", { class: "personalive-bar" }, line, hold, back);
  const root = element("div", { class: "personalive-editor" }, stage, bar);
  stage.hidden = before.hidden = hold.hidden = back.hidden = true;
  return { root, stage, image, before, hold, back, line };
}

/** Shows the picture before the edit while the button is held. */
function holdToCompare({ hold, before }) {
  const show = (shown) => () => {
    before.hidden = !shown;
  };
  for (const kind of ["pointerdown", "keydown"]) hold.addEventListener(kind, show(true));
  for (const kind of ["pointerup", "pointerleave", "pointercancel", "keyup", "blur"])
    hold.addEventListener(kind, show(false));
}

/** Adds the panel. Returns a function that shows the output {token, image, before, asked} of a run. */
export function expressionEditor(node, { words, place, viewUrl, askPreview }) {
  const view = editorElements(words);
  const setHeight = addPanel(node, "personalive_editor_panel", view.root, place);
  let [address, timer] = [null, null];
  const say = (text, failed = false) => {
    view.line.classList.toggle("personalive-error", failed);
    setText(view.line, text);
  };
  const put = (url, own = false) => {
    if (address) URL.revokeObjectURL(address);
    address = own ? url : null;
    view.image.src = url;
  };
  const loop = previewLoop({
    read: () => askedOf(valueOf(node)),
    ask: (token, asked) => askPreview({ token, ...asked }, words),
    show({ picture, error, busy, over, drawing }) {
      if (picture) put(URL.createObjectURL(picture), true);
      if (error) say(error, true);
      else say(over ? words.editorOver : busy ? words.editorBusy : drawing ? words.editorDrawing : words.editorHint);
    },
    now: () => performance.now(),
  });
  holdToCompare(view);
  view.back.onclick = () => reset(node);
  setHeight(EMPTY);
  const end = () => {
    loop.end();
    clearInterval(timer);
    timer = null;
    if (address) URL.revokeObjectURL(address);
    address = null;
  };
  followNode(node, end, () => (timer ??= setInterval(loop.tick, LOOK_EVERY_MS)));

  return ({ token, image, before, asked }) => {
    put(viewUrl(image));
    view.before.src = viewUrl(before);
    view.stage.hidden = view.hold.hidden = view.back.hidden = false;
    setHeight(HEIGHT);
    say(words.editorHint);
    loop.begin(token, (now) => isDrawn(now, asked));
  };
}
