// Boxes [left, top, right, bottom] in pixels of a picture: parsing, formatting, hit testing and dragging.

/** Minimum side of a box in pixels: no face can be found in a smaller one. */
const SMALLEST = 8;

/** Parses a text like "12, 30, 140, 170", with or without commas, as the node does. Returns null if it is no box. */
export function parseBox(text) {
  const parts = String(text ?? "").match(/[^\s,]+/g) ?? [];
  const box = parts.map(Number);
  const isBox = box.length === 4 && box.every(Number.isFinite) && box[2] > box[0] && box[3] > box[1];
  return isBox ? box : null;
}

/** Formats a box as text, in whole pixels. */
export function formatBox(box) {
  return box.map(Math.round).join(", ");
}

const within = (value, low, high) => Math.min(Math.max(value, low), high);

/** Whether point [x, y] lies in the box. */
function contains([left, top, right, bottom], [x, y]) {
  return x >= left && x <= right && y >= top && y <= bottom;
}

const area = ([left, top, right, bottom]) => (right - left) * (bottom - top);

/** The index of the smallest of `boxes` that contains the point, or -1. A face inside a larger box can be clicked. */
export function boxAt(boxes, point) {
  return boxes.reduce(
    (best, box, index) => (contains(box, point) && (best < 0 || area(box) < area(boxes[best])) ? index : best),
    -1,
  );
}

/** The part of the box that a press at `point` grips: a corner {x, y} as indices into the box, "inside", or null. */
export function gripAt(box, point, farthest) {
  if (box === null) return null;
  const reach = Math.min(farthest, (box[2] - box[0]) / 3, (box[3] - box[1]) / 3); // so that a small box keeps an inside
  for (const x of [0, 2]) {
    for (const y of [1, 3]) {
      if (Math.abs(point[0] - box[x]) <= reach && Math.abs(point[1] - box[y]) <= reach) return { x, y };
    }
  }
  return contains(box, point) ? "inside" : null;
}

/** The box between two points, clamped to a picture [width, height], with sides of at least `SMALLEST`. */
export function boxBetween(first, second, [width, height]) {
  const [left, right] = span(first[0], second[0], width);
  const [top, bottom] = span(first[1], second[1], height);
  return [left, top, right, bottom];
}

function span(first, second, length) {
  const low = within(Math.min(first, second), 0, Math.max(0, length - SMALLEST));
  return [low, within(Math.max(first, second), Math.min(low + SMALLEST, length), length)];
}

/** The box after its `grip` was dragged by [x, y], clamped to a picture [width, height]. */
export function dragBox(box, grip, [x, y], size) {
  if (grip !== "inside") {
    const opposite = [box[2 - grip.x], box[4 - grip.y]];
    return boxBetween(opposite, [box[grip.x] + x, box[grip.y] + y], size);
  }
  const [width, height] = [box[2] - box[0], box[3] - box[1]];
  const left = within(box[0] + x, 0, Math.max(0, size[0] - width));
  const top = within(box[1] + y, 0, Math.max(0, size[1] - height));
  return [left, top, left + width, top + height];
}

/** The index of the face that an option of the `face` widget names: the largest (the first option), or by place. */
export function faceOfOption(faces, options, option) {
  const place = options.indexOf(option);
  if (place !== 0) return place > 0 && place <= faces.length ? place - 1 : -1;
  return faces.reduce((best, face, index) => (best < 0 || area(face) > area(faces[best]) ? index : best), -1);
}
