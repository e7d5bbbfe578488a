// Tells a node's panels when it has come into a graph and when it has gone, also from a subgraph.

import { chain } from "./dom.js";
import { nodesOf } from "./graph.js";

const there = new Map(); // node in a graph -> what to call when it has gone

/** Calls `goes` when the node has left its graph, and `comes` when it is put into one. */
export function followNode(node, goes, comes = () => {}) {
  chain(node, "onAdded", () => {
    there.set(node, [...(there.get(node) ?? []), goes]);
    comes();
  });
  chain(node, "onRemoved", () => {
    there.delete(node);
    goes();
  });
}

/**
 * Looks for followed nodes that have gone without a word: front ends clear a graph, as undo and another workflow do,
 * without telling the nodes of its subgraphs. Call it often.
 */
export function findGone(root) {
  const nodes = there.size > 0 ? new Set(nodesOf(root)) : null;
  for (const [node, ends] of there) {
    if (nodes.has(node)) continue;
    there.delete(node);
    for (const end of ends) end();
  }
}
