// The panel of a sampler node: motion-novelty curve, keyframe strip and status line of a run.

import { addPanel, element, setText } from "./dom.js";
import { drawPlot } from "./plot.js";
import { advance, hasCurve, keyframeCaption, NO_RUN, statusLine } from "./run.js";

/** Pixels of the line, and of the strip and the curve where there are any. */
const [LINE, STRIP, CURVE] = [32, 68, 90];

/** Canvas pixels per CSS pixel: the graph may be zoomed in. */
const SHARPNESS = 2;

function redraw(canvas, run) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (width === 0 || height === 0) return;
  canvas.width = width * SHARPNESS;
  canvas.height = height * SHARPNESS;
  const style = getComputedStyle(canvas);
  const colours = {
    line: style.getPropertyValue("--input-text"),
    quiet: style.getPropertyValue("--descrip-text"),
    dot: "#4ade80",
  };
  const context = canvas.getContext("2d");
  context.scale(SHARPNESS, SHARPNESS);
  drawPlot(context, run, { width, height }, colours);
}

function figure(keyframes, index, words) {
  const caption = keyframeCaption(keyframes, index, words);
  const picture = element("img", { src: keyframes[index].image, alt: caption });
  return element("figure", {}, picture, element("figcaption", {}, caption));
}

/** The line with a link to the file {filename, subfolder} of a stopped run. */
function fileLine(text, file, viewUrl) {
  const name = file.subfolder ? `${file.subfolder}/${file.filename}` : file.filename;
  return [`${text}: `, element("a", { href: viewUrl(file), target: "_blank", rel: "noopener" }, name)];
}

/** Adds the panel. Returns a function that shows a progress event, or a `complete` run. */
export function samplerPanel(node, { words, place, viewUrl }) {
  const canvas = element("canvas", { role: "img", title: words.curve, "aria-label": words.curve });
  const stage = element("div", { class: "personalive-stage" }, canvas);
  const strip = element("div", { class: "personalive-strip" });
  const line = element("div", { class: "personalive-line" }, words.samplerEmpty);
  const setHeight = addPanel(node, "personalive_run_panel", element("div", {}, stage, strip, line), place);
  let run = NO_RUN;
  stage.hidden = strip.hidden = true;
  setHeight(LINE);
  new ResizeObserver(() => redraw(canvas, run)).observe(stage);

  return (event, complete) => {
    const afresh = complete || event.first;
    const known = afresh ? 0 : run.keyframes.length;
    run = advance(afresh ? NO_RUN : run, event);
    if (known === 0) strip.replaceChildren();
    for (let index = known; index < run.keyframes.length; index += 1) strip.append(figure(run.keyframes, index, words));
    stage.hidden = !hasCurve(run);
    strip.hidden = run.keyframes.length === 0;
    setText(line, statusLine(run, words));
    if (event.compare) line.replaceChildren(...fileLine(line.textContent, event.compare.result, viewUrl));
    setHeight(LINE + (strip.hidden ? 0 : STRIP) + (stage.hidden ? 0 : CURVE));
    redraw(canvas, run);
  };
}
