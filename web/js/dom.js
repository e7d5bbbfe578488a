// Creates HTML and SVG elements, and panels under nodes, for both front ends (classic and Vue).

const SVG = "http://www.w3.org/2000/svg";

/** Margin in pixels of the classic front end around a widget's element: above plus below. */
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

/** An SVG element with attributes and children (elements or texts). */
export function svgElement(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** Sets the text of an element and shows it. An empty text hides it. */
export function setText(target, text) {
  target.textContent = text;
  target.hidden = text === "";
}

/** Replaces `owner[method]`: the new method calls the old one, then `addition` with the same arguments. */
export function chain(owner, method, addition) {
  const before = owner[method];
  owner[method] = function chained(...values) {
    const answer = before?.apply(this, values);
    addition.apply(this, values);
    return answer;
  };
}

/** Makes a new node at least `width` pixels wide. A saved one gets its own width afterwards. */
export function widen(node, width) {
  if (node.size[0] < width) node.setSize([width, node.size[1]]);
}

/** Passes wheel and middle button to the canvas, which zooms and pans. With Vue nodes the wheel does so already. */
function passToCanvas(root, canvas, isVue) {
  root.addEventListener("wheel", (event) => isVue() || canvas().processMouseWheel(event), { passive: false });
  root.addEventListener("pointerdown", (event) => {
    if (event.button === MIDDLE) canvas().processMouseDown(event); // the canvas then captures the pointer
  });
}

/**
 * Adds `root` under the node as a widget that is not saved in workflow or prompt. It is hidden until it has a height.
 * Returns a function that sets the height in pixels. A node that is too small for it grows; a lower panel shrinks it.
 */
export function addPanel(node, name, root, { canvas, isVue }) {
  let height = 0;
  root.classList.add("personalive-panel");
  root.hidden = true;
  const widget = node.addDOMWidget(name, "personalive", root, {
    serialize: false, // keeps it out of the prompt
    hideOnZoom: false,
    surfaces: { canvas: "shown", vueNode: "shown", panel: "never" }, // one element cannot be in two places at once
    getMinHeight: () => (height > 0 ? height + CLASSIC_MARGIN : 0),
    getMaxHeight: () => (height > 0 ? undefined : 0),
  });
  widget.serialize = false; // keeps it out of the saved workflow
  passToCanvas(root, canvas, isVue);
  return (wanted) => {
    if (wanted === height) return;
    const freed = Math.max(0, height - wanted);
    height = wanted;
    root.hidden = height === 0;
    root.style.minHeight = `${height}px`;
    node.setSize([node.size[0], Math.max(node.size[1] - freed, node.computeSize()[1])]);
    node.setDirtyCanvas(true, true);
  };
}
