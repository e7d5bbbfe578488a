// The points mode of the face picker: a click places the next of an animal's nine points, a drag moves one.

import { isLinked, linkedNode, widgetOf } from "./graph.js";
import { drawPoints, pointIn } from "./picker_view.js";
import { formatPoints, NINE, parsePoints, pointAt, withPoint } from "./points.js";
import { fill } from "./strings.js";

const WIDGET = "face_points";

/** Distance from a point, in screen pixels, at which a press grips it. A finger is less exact. */
const REACH = { mouse: 8, pen: 12, touch: 20 };

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
  const gripAt = (event) => {
    const { size, points } = current();
    if (!event.isPrimary || size === null) return null;
    const { point, scale } = pointIn(svg, event);
    const found = pointAt(points, point, (REACH[event.pointerType] ?? REACH.mouse) / scale);
    const index = found < 0 ? points.length : found;
    return { point, points, size, index, begin: points[index] ?? point };
  };
  const dragged = (event) => {
    const { point } = pointIn(svg, event);
    const place = [0, 1].map((axis) => press.begin[axis] + point[axis] - press.point[axis]);
    return withPoint(press.points, press.index, place, press.size);
  };
  svg.addEventListener("pointerdown", (event) => {
    const grip = event.button === 0 ? gripAt(event) : null;
    press = grip && grip.index < Math.max(NINE, grip.points.length) ? grip : null;
    if (press) svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (press && event.isPrimary) draw(dragged(event));
    const hover = press ?? gripAt(event);
    if (hover) svg.style.cursor = hover.index < hover.points.length ? "move" : "crosshair";
  });
  svg.addEventListener("pointerup", (event) => {
    if (press === null || !event.isPrimary) return;
    const points = dragged(event);
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
