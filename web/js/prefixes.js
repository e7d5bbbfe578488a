// Fills %date:yyyy-MM-dd% and %Node.widget% in a file name prefix, as ComfyUI's page does in its own save nodes.

import { nodesOf, widgetOf } from "./graph.js";

const PATTERN = /%([^%]+)%/g;
const DATE = "date:";
const PART = /yyyy|yy|MM?|dd?|hh?|mm?|ss?/g;
const NO_NAME = new RegExp('[/?<>\\\\:*|"\\u0000-\\u001f\\u007f]', "g");
const SEARCH_NAME = "Node name for S&R"; // the property by which ComfyUI finds a node, before its title

/** A date in a form of yyyy, yy, MM, dd, hh, mm and ss, or one letter without leading zeros. */
function dateText(form, now) {
  const values = { y: now.getFullYear(), M: now.getMonth() + 1, d: now.getDate() };
  Object.assign(values, { h: now.getHours(), m: now.getMinutes(), s: now.getSeconds() });
  return form.replace(PART, (part) => {
    const digits = String(values[part[0]]).padStart(part.length, "0");
    return part === "yy" ? digits.slice(-2) : digits;
  });
}

/** `text` with its patterns filled from the nodes of `graph` and the date `now`; what is not known stays. */
export function fillPrefix(text, graph, now) {
  return String(text).replace(PATTERN, (whole, inner) => {
    if (inner.startsWith(DATE)) return dateText(inner.slice(DATE.length), now);
    const dot = inner.lastIndexOf(".");
    if (dot < 1) return whole;
    const name = inner.slice(0, dot);
    const nodes = nodesOf(graph);
    const node =
      nodes.find(({ properties }) => properties?.[SEARCH_NAME] === name) ?? nodes.find(({ title }) => title === name);
    const widget = node && widgetOf(node, inner.slice(dot + 1));
    return widget ? String(widget.value ?? "").replace(NO_NAME, "_") : whole;
  });
}
