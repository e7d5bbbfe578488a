// The motion-novelty plot on a canvas: its scale and its drawing.

const MARGIN = 6;

/** Top of the plot, as a multiple of the highest value. */
const HEADROOM = 1.1;

/** Functions that map frame and novelty to pixels of a plot of `width` x `height`. */
export function plotScale(run, width, height) {
  const lastFrame = Math.max(run.total - 1, run.points.at(-1)?.[0] ?? 0, 1);
  const highest = run.points.reduce((top, [, value]) => Math.max(top, value), run.threshold ?? 0);
  const top = highest > 0 ? highest * HEADROOM : 1;
  return {
    x: (frame) => MARGIN + (frame / lastFrame) * (width - 2 * MARGIN),
    y: (value) => height - MARGIN - (value / top) * (height - 2 * MARGIN),
  };
}

/** The point of the curve that is nearest to `frame`. `points` must not be empty. */
function nearest(points, frame) {
  return points.reduce((best, point) => (Math.abs(point[0] - frame) < Math.abs(best[0] - frame) ? point : best));
}

/** The positions of the keyframe dots: [frame, novelty] each. */
export function keyframeDots({ keyframes, points, threshold }) {
  return keyframes
    .filter(({ frame }) => frame !== null)
    .map(({ frame }) => [frame, points.length > 0 ? nearest(points, frame)[1] : (threshold ?? 0)]);
}

function drawThreshold(context, { x, y }, run, width, colours) {
  context.strokeStyle = context.fillStyle = colours.quiet;
  context.setLineDash([4, 3]);
  context.beginPath();
  context.moveTo(x(0), y(run.threshold));
  context.lineTo(width - MARGIN, y(run.threshold));
  context.stroke();
  context.setLineDash([]);
  context.font = "10px sans-serif";
  context.textAlign = "right";
  context.fillText(String(run.threshold), width - MARGIN, y(run.threshold) - 3);
}

/** Draws a run into `context`, in CSS pixels. `colours` is {line, dot, quiet}. */
export function drawPlot(context, run, { width, height }, colours) {
  const scale = plotScale(run, width, height);
  context.clearRect(0, 0, width, height);
  context.lineWidth = 1;
  if (run.threshold !== null) drawThreshold(context, scale, run, width, colours);
  context.strokeStyle = colours.line;
  context.lineWidth = 1.5;
  context.beginPath();
  for (const [frame, value] of run.points) context.lineTo(scale.x(frame), scale.y(value));
  context.stroke();
  context.fillStyle = colours.dot;
  for (const [frame, value] of keyframeDots(run)) {
    context.beginPath();
    context.arc(scale.x(frame), scale.y(value), 3.5, 0, 2 * Math.PI);
    context.fill();
  }
}
