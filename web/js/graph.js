// Searches the graph, in both front ends: the node with an id, the file behind an input.

const SUBGRAPH_SEPARATOR = ":";
const LOADERS = { LoadImage: "image", LoadImageOutput: "image", LoadVideo: "file" }; // -> the widget with the file
const PASSES_ON = new Set(["Reroute", "GetVideoComponents"]); // the same pictures come out as go into the first input
const ALWAYS = 0; // LiteGraph's mode of a node that is neither muted nor bypassed
const LONGEST_CHAIN = 100;

/** The node with this id directly in `graph`. Ids are numbers in older front ends and strings in newer ones. */
function nodeById(graph, id) {
  return graph.getNodeById(id) ?? graph.getNodeById(Number(id)) ?? null;
}

/** All nodes of a graph and of the subgraphs in it. */
export function nodesOf(graph) {
  const nodes = graph.nodes ?? graph._nodes ?? [];
  return nodes.flatMap((node) => [node, ...(node.subgraph ? nodesOf(node.subgraph) : [])]);
}

/** The node of an execution id: "5", or "5:3" for node 3 in subgraph node 5; else by the last part alone; or null. */
export function findNode(root, executionId) {
  const parts = String(executionId).split(SUBGRAPH_SEPARATOR);
  let graph = root;
  for (const part of parts.slice(0, -1)) graph = graph && nodeById(graph, part)?.subgraph;
  return (graph && nodeById(graph, parts.at(-1))) ?? nodeById(root, parts.at(-1));
}

/** The key of a node's entry in the front end's table of outputs. */
export function outputKey(node, root) {
  const inside = node.graph && node.graph !== root;
  return inside ? `${node.graph.id}${SUBGRAPH_SEPARATOR}${node.id}` : String(node.id);
}

/** A widget of a node by name, or undefined. */
export function widgetOf(node, name) {
  return node.widgets?.find((widget) => widget.name === name);
}

/** Whether the input `name` is connected. */
export function isLinked(node, name) {
  const slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  return slot >= 0 && node.isInputConnected(slot);
}

/** {filename, subfolder, type} of a combo value like "people/anna.png" or "anna.png [output]". */
export function fileOf(value) {
  const [, path, type = "input"] = /^(.*?)(?: \[(input|output|temp)\])?$/s.exec(value);
  const cut = path.lastIndexOf("/") + 1;
  return { filename: path.slice(cut), subfolder: path.slice(0, Math.max(0, cut - 1)), type };
}

/** The node connected to the input `name`, directly or through reroutes and the like; undefined if there is none. */
export function linkedNode(node, name) {
  let source = node;
  let slot = node.inputs?.findIndex((input) => input.name === name) ?? -1;
  if (slot < 0 || node.graph === null) return undefined; // newer front ends throw for a node that is not yet in a graph
  for (let steps = 0; steps < LONGEST_CHAIN && source; steps += 1) {
    source = source.getInputNode(slot);
    slot = 0;
    if (!PASSES_ON.has(source?.type)) break;
  }
  return source ?? undefined;
}

/**
 * The file of the Load Image or Load Video node connected to the input `name`, directly or through reroutes:
 * {filename, subfolder, type, isFilm}; else null.
 */
export function linkedFile(node, name) {
  const source = linkedNode(node, name);
  if (!Object.hasOwn(LOADERS, source?.type ?? "") || source.mode !== ALWAYS) return null;
  const value = widgetOf(source, LOADERS[source.type])?.value;
  if (typeof value !== "string" || value === "") return null;
  return { ...fileOf(value), isFilm: source.type === "LoadVideo" };
}
