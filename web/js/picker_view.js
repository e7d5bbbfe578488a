// The view of the face picker: the picture, with the faces, the crop and the chosen box drawn over it.

import { element, svgElement } from "./dom.js";
import { NINE, PAIRS } from "./points.js";
import { fill } from "./strings.js";

/** Half the side of a square corner grip, in screen pixels. */
const GRIP = 4;

/** Radius of a point, and size of its number, in screen pixels. */
const DOT = 4;
const DIGIT = 12;

/** The elements of the picker, and `onFace(callback)`, called with the index of a face chosen by keyboard. */
export function pickerElements(words) {
  const image = element("img", { alt: "", draggable: "false" });
  const svg = svgElement("svg", { preserveAspectRatio: "xMidYMid meet" });
  const stage = element("div", { class: "personalive-stage personalive-picker" }, image, svg);
  const line = element("div", { class: "personalive-line" });
  const automatic = element("button", { type: "button", title: words.automaticTitle }, words.automatic);
  const undo = element("button", { type: "button", title: words.pointUndoTitle }, words.pointUndo);
  const points = element("button", { type: "button", title: words.pointsTitle }, words.points);
  undo.hidden = points.hidden = true;
  const bar = element("div", { class: "personalive-bar" }, line, undo, points, automatic);
  const onFace = (callback) => {
    svg.addEventListener("keydown", (event) => {
      const index = event.target.dataset.face;
      if (index === undefined || !["Enter", " "].includes(event.key)) return;
      event.preventDefault();
      callback(Number(index));
    });
  };
  const buttons = { automatic, undo, points };
  return { root: element("div", {}, stage, bar), stage, image, svg, bar, line, ...buttons, onFace };
}

/** The position of a pointer event: {point: [x, y] in picture pixels, scale: screen pixels per picture pixel}. */
export function pointIn(svg, event) {
  const matrix = svg.getScreenCTM();
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
  return { point: [x, y], scale: matrix.a };
}

/** A rectangle without pointer events (see the style): a redraw replaces it, and its touch would never end. */
function rectangle([left, top, right, bottom], attributes) {
  return svgElement("rect", { x: left, y: top, width: right - left, height: bottom - top, ...attributes });
}

function faceRectangle(face, index, isChosen, words) {
  const label = fill(words.face, { number: index + 1 });
  const name = isChosen ? "face chosen" : "face";
  const attributes = { class: name, "data-face": index, role: "button", tabindex: 0, "aria-label": label };
  return rectangle(face, attributes);
}

function grips([left, top, right, bottom], half) {
  const corners = [left, right].flatMap((x) => [top, bottom].map((y) => [x - half, y - half, x + half, y + half]));
  return corners.map((corner) => rectangle(corner, { class: "grip" }));
}

/** The square that was animated: upright, or turned and then given by its corners. */
function cropShape(crop) {
  if (typeof crop[0] === "number") return rectangle(crop, { class: "crop" });
  return svgElement("polygon", { class: "crop", points: crop.map((corner) => corner.join(",")).join(" ") });
}

/** Draws numbered points and the crop over the picture. Draws nothing while `size` is not known (null). */
export function drawPoints({ svg }, { size, crop }, points) {
  svg.replaceChildren();
  if (size === null) return;
  svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
  const scale = svg.getScreenCTM()?.a || 1;
  if (crop) svg.append(cropShape(crop));
  for (const [from, to] of points.length === NINE ? PAIRS : []) {
    const [[x1, y1], [x2, y2]] = [points[from], points[to]];
    svg.append(svgElement("line", { class: "pair", x1, y1, x2, y2 }));
  }
  points.forEach(([x, y], index) => {
    svg.append(svgElement("circle", { class: "dot", cx: x, cy: y, r: DOT / scale }));
    const place = { class: "number", x: x + DOT / scale, y: y - DOT / scale, "font-size": DIGIT / scale };
    svg.append(svgElement("text", place, String(index + 1)));
  });
}

/**
 * Draws {faces, crop} and the box (or null) over the picture, the face `chosen` (an index) highlighted. Draws nothing
 * while `size` is not known (null).
 */
export function drawBoxes({ svg }, { size, faces, crop }, { box, chosen }, words) {
  const focused = svg.contains(document.activeElement) ? document.activeElement.dataset.face : null;
  svg.replaceChildren();
  if (size === null) return;
  svg.setAttribute("viewBox", `0 0 ${size[0]} ${size[1]}`);
  if (crop) svg.append(cropShape(crop));
  svg.append(...faces.map((face, index) => faceRectangle(face, index, index === chosen, words)));
  svg.querySelector(`[data-face="${focused}"]`)?.focus({ preventScroll: true });
  if (box === null) return;
  const scale = svg.getScreenCTM()?.a || 1;
  svg.append(rectangle(box, { class: "box" }), ...grips(box, GRIP / scale));
}
