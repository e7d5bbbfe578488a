// The points mode of the face picker: a click places the next of an animal's nine points, a drag moves one.

import { isLinked, linkedNode, widgetOf } from "./graph.js";
import { drawPoints, pointIn } from "./picker_view.js";
import { REACH, STILL } from "./pointer.js";
import { afterPress, formatPoints, NINE, parsePoints, pointAt } from "./points.js";
import { fill } from "./strings.js";

const WIDGET = "face_points";

/** Whether the networks of the linked loader are those for animals. */
export function isAnimal(node) {
  return widgetOf(linkedNode(node, "model") ?? {}, "subject")?.value === "animal";
}

/** What the panel says in points mode. */
export function pointsLine(node, words) {
  if (isLinked(node, WIDGET)) return words.pointsLinked;
  const { length } = parsePoints(widgetOf(node, WIDGET)?.value);
  if (length >= NINE) return words.pointsDone;
  return fill(words.pointNext, { number: length + 1, name: words.pointNames.split("|")[length] });
}

/** Handles pointer events over `svg`: `current()` is {size, points}; `draw` shows points, `store` writes them. */
function followPoints(svg, current, { draw, store }) {
  let press = null;
  const pressAt = (event) => {
    const { size, points } = current();
    if (!event.isPrimary || size === null) return null;
    const { point, scale } = pointIn(svg, event);
    return { point, points, size, grip: pointAt(points, point, (REACH[event.pointerType] ?? REACH.mouse) / scale) };
  };
  const pressed = (event) => {
    const { point, scale } = pointIn(svg, event);
    return afterPress(press, point, STILL / scale, press.size);
  };
  svg.addEventListener("pointerdown", (event) => {
    press = event.button === 0 ? pressAt(event) : null;
    if (press) svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (press && event.isPrimary) draw(pressed(event));
    const hover = press ?? pressAt(event);
    if (hover === null) return;
    const free = hover.points.length < NINE ? "crosshair" : "default";
    svg.style.cursor = hover.grip >= 0 ? "move" : free;
  });
  svg.addEventListener("pointerup", (event) => {
    if (press === null || !event.isPrimary) return;
    const points = pressed(event);
    press = null;
    store(points);
  });
  svg.addEventListener("pointercancel", () => {
    press = null;
    draw();
  });
}

/**
 * Adds the mode to a picker's `view`. `shown()` is the picture, `write(value)` stores the widget's, `changed()` draws
 * anew. Returns `isOn()`, `draw(shown, points)`, `clear()` and `line()`.
 */
export function pointsPicker(node, { view, words, shown, write, changed }) {
  let wanted = null; // until the button is pressed, the networks decide
  const points = () => parsePoints(widgetOf(node, WIDGET)?.value);
  const isOn = () => points().length > 0 || isLinked(node, WIDGET) || (wanted ?? isAnimal(node));
  const store = (next) => {
    if (!isLinked(node, WIDGET)) write(formatPoints(next));
    changed();
  };
  const current = () => ({ size: isOn() && !isLinked(node, WIDGET) ? shown().size : null, points: points() });
  const draw = (draft) => {
    drawPoints(view, shown(), draft ?? points());
    view.undo.disabled = points().length === 0 || isLinked(node, WIDGET);
  };
  view.points.onclick = () => {
    wanted = !isOn();
    if (wanted) changed();
    else store([]);
  };
  view.undo.onclick = () => store(points().slice(0, -1));
  followPoints(view.svg, current, { draw: (draft) => isOn() && draw(draft), store });
  return { isOn, draw, clear: () => store([]), line: () => pointsLine(node, words) };
}
