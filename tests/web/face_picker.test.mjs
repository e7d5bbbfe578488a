// The face picker under pointer and keyboard, with stand-ins for the page's elements.

import assert from "node:assert/strict";
import { test } from "node:test";

/** An element that keeps its children and calls its listeners. */
class Fake {
  constructor(tag) {
    Object.assign(this, { tag, children: [], listeners: {}, style: {}, dataset: {}, hidden: false });
    this.classList = { add() {}, toggle() {} };
  }
  setAttribute(name, value) {
    if (name.startsWith("data-")) this.dataset[name.slice(5)] = String(value);
  }
  append(...children) {
    this.children.push(...children);
  }
  replaceChildren(...children) {
    if (this.contains(document.activeElement)) document.activeElement = null;
    this.children = children;
  }
  contains(other) {
    return other === this || this.children.some((child) => child.contains?.(other));
  }
  querySelector(selector) {
    return this.children.find(({ dataset }) => selector === `[data-face="${dataset?.face}"]`) ?? null;
  }
  addEventListener(kind, callback) {
    (this.listeners[kind] ??= []).push(callback);
  }
  dispatch(kind, event) {
    for (const callback of this.listeners[kind] ?? []) callback({ preventDefault() {}, ...event });
  }
  focus() {
    document.activeElement = this;
  }
  removeAttribute() {}
  setPointerCapture() {}
  getScreenCTM() {
    return { a: 1, inverse: () => null };
  }
}

const created = [];
const create = (tag) => created[created.push(new Fake(tag)) - 1];
globalThis.document = { activeElement: null, createElement: create, createElementNS: (_, tag) => create(tag) };
globalThis.DOMPoint = class {
  constructor(x, y) {
    Object.assign(this, { x, y });
  }
  matrixTransform() {
    return this;
  }
};

const { facePicker, PORTRAIT, SOURCE } = await import("../../web/js/face_picker.js");
const { wordsFor } = await import("../../web/js/strings.js");

const FACES = [[0, 0, 20, 20], [50, 0, 80, 30]];
const RUN = { image: { filename: "a.png" }, width: 100, height: 100, faces: FACES, crop: null };

/** A picker of a picture of 100x100 pixels with two faces, after a run. */
function stage(kind, points = "") {
  created.length = 0;
  const widgets = Object.entries({ face_box: "", face: "largest", detector: "auto", face_points: points });
  const node = {
    size: [0, 0], inputs: [], widgets: widgets.map(([name, value]) => ({ name, value, options: { values: [value] } })),
    addDOMWidget: () => ({}), setSize() {}, computeSize: () => [0, 0], setDirtyCanvas() {},
  };
  const viewUrl = ({ filename }) => filename;
  const place = { canvas: () => null, isVue: () => false };
  const show = facePicker(node, { words: wordsFor("en"), place, viewUrl }, kind);
  show(RUN);
  const [svg, image] = ["svg", "img"].map((name) => created.find(({ tag }) => tag === name));
  const at = (clientX, clientY) => ({ clientX, clientY, isPrimary: true, button: 0, pointerType: "mouse", pointerId: 1 });
  const cursorAt = (x, y) => {
    svg.dispatch("pointermove", at(x, y));
    return svg.style.cursor;
  };
  const widget = (name) => node.widgets.find((one) => one.name === name);
  return { svg, image, node, show, cursorAt, widget, value: (name) => widget(name).value };
}

test("the cursor tells what a press would do: of faces", () => {
  const { cursorAt } = stage(PORTRAIT);
  assert.deepEqual([cursorAt(10, 10), cursorAt(40, 60)], ["pointer", "crosshair"]);
});

test("the cursor tells what a press would do: of points", () => {
  const { cursorAt } = stage(SOURCE, "30, 30; 60, 60");
  assert.deepEqual([cursorAt(30, 31), cursorAt(80, 80)], ["move", "crosshair"]);
});

test("a face chosen by keyboard keeps the focus", () => {
  const { svg, value } = stage(PORTRAIT);
  const face = svg.querySelector('[data-face="1"]');
  face.focus();
  svg.dispatch("keydown", { target: face, key: "Enter" });
  assert.equal(value("face_box"), "50, 0, 80, 30");
  assert.equal(document.activeElement, svg.querySelector('[data-face="1"]'));
});

test("a run that ends after another picture was chosen does not show its own", () => {
  const { node, show, image, widget } = stage(PORTRAIT);
  const chosen = { name: "image", value: "a.png" };
  Object.assign(node, {
    inputs: [{ name: "image" }], isInputConnected: () => true,
    getInputNode: () => ({ type: "LoadImage", mode: 0, widgets: [chosen] }),
  });
  assert.equal(widget("face_box").serializeValue(), "");
  show({ ...RUN, image: { filename: "run_a.jpg" } });
  assert.equal(image.src, "run_a.jpg");
  assert.equal(widget("face_box").serializeValue(), "");
  chosen.value = "b.png";
  show({ ...RUN, image: { filename: "again.jpg" } });
  assert.equal(image.src, "run_a.jpg");
  assert.equal(widget("face_box").serializeValue(), "");
  show({ ...RUN, image: { filename: "run_b.jpg" } });
  assert.equal(image.src, "run_b.jpg");
});
