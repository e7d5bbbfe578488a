// Points [x, y] in pixels of a picture: parsing, formatting, hit testing, placing.

/** An animal's: two corners of each eye, nose, two of the mouth, two lips. */
export const NINE = 9;

/** Points between which the picture shows a line: an eye, the other, the mouth, the lips. */
export const PAIRS = [[0, 1], [2, 3], [5, 6], [7, 8]];

/** Parses a text like "12, 30; 140, 170", however the numbers are parted, as the node does. [] if it is none. */
export function parsePoints(text) {
  const numbers = (String(text ?? "").match(/[^\s,;]+/g) ?? []).map(Number);
  if (numbers.length % 2 !== 0 || !numbers.every(Number.isFinite)) return [];
  return Array.from({ length: numbers.length / 2 }, (_, index) => numbers.slice(2 * index, 2 * index + 2));
}

/** Formats points as text, in whole pixels. */
export function formatPoints(points) {
  return points.map((point) => point.map(Math.round).join(", ")).join("; ");
}

/** The index of the point nearest to [x, y], at most `reach` away, or -1. */
export function pointAt(points, [x, y], reach) {
  const away = points.map((point) => Math.hypot(point[0] - x, point[1] - y));
  const least = Math.min(...away);
  return least <= reach ? away.indexOf(least) : -1;
}

/** The points with [x, y], clamped to a picture [width, height], at `index`; one past the last adds it. */
export function withPoint(points, index, [x, y], [width, height]) {
  const place = [Math.min(Math.max(x, 0), width), Math.min(Math.max(y, 0), height)];
  return [...points.slice(0, index), place, ...points.slice(index + 1)];
}

/**
 * The points after a press at {grip, points, point} has come to `place`: a drag of more than `still` moves the gripped
 * one, anything else adds one, also close to another, until there are nine.
 */
export function afterPress({ grip, points, point }, place, still, size) {
  const [x, y] = [place[0] - point[0], place[1] - point[1]];
  if (grip >= 0 && Math.hypot(x, y) >= still) {
    return withPoint(points, grip, [points[grip][0] + x, points[grip][1] + y], size);
  }
  return points.length < NINE ? withPoint(points, points.length, place, size) : points;
}
