// Elements, and the panel that shows one under a node of either front end.

const SVG = "http://www.w3.org/2000/svg";

/** Room the classic front end leaves around a widget's element, above and below together. */
const CLASSIC_MARGIN = 20;

/** The middle mouse button in `event.button`. */
const MIDDLE = 1;

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

/** An HTML element with attributes and children (elements or texts). */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for an SVG element. */
export function svgElement(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Shows or hides an element, text included: an empty text hides it. */
export function setText(target, text) {
  target.textContent = text;
  target.hidden = text === "";
}

/** Calls `addition` with the arguments after whatever `owner[method]` did before. */
export function chain(owner, method, addition) {
  const before = owner[method];
  owner[method] = function chained(...values) {
    const answer = before?.apply(this, values);
    addition.apply(this, values);
    return answer;
  };
}

/** Wheel and middle button zoom and pan the canvas, as beside the panel; in Vue nodes the wheel does already. */
function passToCanvas(root, canvas, isVue) {
  root.addEventListener("wheel", (event) => isVue() || canvas().processMouseWheel(event), { passive: false });
  root.addEventListener("pointerdown", (event) => {
    if (event.button === MIDDLE) canvas().processMouseDown(event); // which captures the pointer
  });
}

/**
 * Puts `root` under the node as a widget that no workflow or prompt stores, hidden until it gets a height.
 * Returns a function that gives it `height` in pixels; a node too small for it grows.
 */
export function addPanel(node, name, root, { canvas, isVue }) {
  let height = 0;
  root.classList.add("personalive-panel");
  root.hidden = true;
  const widget = node.addDOMWidget(name, "personalive", root, {
    serialize: false, // keeps it out of the prompt
    hideOnZoom: false,
    surfaces: { canvas: "shown", vueNode: "shown", panel: "never" }, // one element cannot be in two places
    getMinHeight: () => (height > 0 ? height + CLASSIC_MARGIN : 0),
    getMaxHeight: () => (height > 0 ? undefined : 0),
  });
  widget.serialize = false; // keeps it out of the saved workflow
  passToCanvas(root, canvas, isVue);
  return (wanted) => {
    if (wanted === height) return;
    height = wanted;
    root.hidden = height === 0;
    root.style.minHeight = `${height}px`;
    node.setSize([node.size[0], Math.max(node.size[1], node.computeSize()[1])]);
    node.setDirtyCanvas(true, true);
  };
}
