// Workflows saved with the ids and socket types of before: gives them today's, which no other pack uses.

const PREFIX = "PersonaLive";
// nodes/host/renames.py has the same list, for prompts that do not come from the page
const RENAMED = [
  "PrepareReference",
  "StreamingSamplerVideo",
  "PasteBack",
  "SaveMotion",
  "LoadMotion",
  "BlendMotion",
  "MotionPlot",
];
const SOCKETS = {
  REFERENCE: "PERSONALIVE_REFERENCE",
  HYBRID_MOTION: "PERSONALIVE_MOTION",
  KEYFRAME_BANK: "PERSONALIVE_KEYFRAME_BANK",
};
const ID_PROPERTY = "Node name for S&R"; // where the page keeps a node's id for file names

const list = (value) => (Array.isArray(value) ? value : []);

function renameSockets(sockets) {
  for (const socket of list(sockets)) socket.type = SOCKETS[socket.type] ?? socket.type;
}

/** Links are [id, from, slot, to, slot, type] in a workflow, {..., type} in a subgraph. */
function renameLinks(links) {
  for (const link of list(links)) {
    const key = Array.isArray(link) ? 5 : "type";
    link[key] = SOCKETS[link[key]] ?? link[key];
  }
}

function renameNode(node, old) {
  if (old.has(node.type)) {
    const id = PREFIX + node.type;
    if (node.properties?.[ID_PROPERTY] === node.type) node.properties[ID_PROPERTY] = id;
    node.type = id;
  }
  renameSockets(node.inputs);
  renameSockets(node.outputs);
}

/**
 * Renames in a saved workflow, in place, before the page builds its nodes. `isTaken` says whether an id is the node of
 * another pack: those stay. A workflow without any of our old nodes is left as it is.
 */
export function renameOldIds(workflow, isTaken) {
  const old = new Set(RENAMED.filter((id) => !isTaken(id)));
  const graphs = [workflow, ...list(workflow?.definitions?.subgraphs)];
  if (!graphs.some((graph) => list(graph?.nodes).some((node) => old.has(node.type)))) return;
  for (const graph of graphs) {
    for (const node of list(graph.nodes)) renameNode(node, old);
    renameLinks(graph.links);
    renameSockets(graph.inputs);
    renameSockets(graph.outputs);
  }
}
