// Pointer input of the face picker: a click chooses a face, a drag draws, moves or resizes a box.

import { boxAt, boxBetween, dragBox, gripAt } from "./boxes.js";
import { pointIn } from "./picker_view.js";

/** Distance from a corner, in screen pixels, at which a press grips it. A finger is less exact. */
export const REACH = { mouse: 8, pen: 12, touch: 20 };

/** Movement in screen pixels from which a press is a drag and no longer a click. */
export const STILL = 4;

/** The cursor for the action that a press would start. */
function cursorFor(grip, face) {
  if (grip === "inside") return "move";
  if (grip !== null) return (grip.x === 0) === (grip.y === 1) ? "nwse-resize" : "nesw-resize";
  return face >= 0 ? "pointer" : "crosshair";
}

/** The box that a drag to `point` gives, or null while the press is still a click. */
function draggedBox(press, { point, scale }, size) {
  const [x, y] = [point[0] - press.point[0], point[1] - press.point[1]];
  press.moved ||= Math.hypot(x, y) * scale >= STILL;
  if (!press.moved) return null;
  if (press.grip === null) return boxBetween(press.point, point, size);
  return dragBox(press.box, press.grip, [x, y], size);
}

/**
 * Handles pointer events over `svg`. `current()` returns {size, faces, box}; a null size means nothing can be chosen.
 * `draw(box)` shows a box during a drag, `draw()` shows the stored box, `choose(box)` stores a drawn box, and
 * `chooseFace(index)` the face that was clicked.
 */
export function followPointer(svg, current, { draw, choose, chooseFace }) {
  let press = null;
  const pressAt = (event) => {
    const { size, box } = current();
    if (!event.isPrimary || size === null) return null;
    const { point, scale } = pointIn(svg, event);
    const reach = (REACH[event.pointerType] ?? REACH.mouse) / scale;
    return { point, box, size, grip: gripAt(box, point, reach), moved: false };
  };
  svg.addEventListener("pointerdown", (event) => {
    press = event.button === 0 ? pressAt(event) : null;
    if (press) svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    const box = press && event.isPrimary && draggedBox(press, pointIn(svg, event), press.size);
    if (box) draw(box);
    const hover = press ?? pressAt(event);
    svg.style.cursor = hover ? cursorFor(hover.grip, boxAt(current().faces, hover.point)) : "default";
  });
  svg.addEventListener("pointerup", (event) => {
    if (press === null || !event.isPrimary) return;
    const { faces } = current();
    const face = press.grip === null ? boxAt(faces, press.point) : -1;
    const box = draggedBox(press, pointIn(svg, event), press.size);
    press = null;
    if (box) choose(box);
    else if (face >= 0) chooseFace(face);
  });
  svg.addEventListener("pointercancel", () => {
    press = null;
    draw();
  });
}
