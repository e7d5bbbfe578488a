// Finding nodes and files in graphs of both front ends.

import assert from "node:assert/strict";
import { test } from "node:test";

import { fileOf, findNode, isLinked, linkedFile, outputKey } from "../../web/js/graph.js";

/** A graph whose ids are of the given kind: numbers in older front ends, strings in newer ones. */
function graphOf(nodes, kind, id = "root") {
  const graph = { id, getNodeById: (key) => (typeof key === kind && nodes[key]) || null };
  for (const [key, node] of Object.entries(nodes)) Object.assign(node, { id: key, graph });
  return graph;
}

for (const kind of ["number", "string"]) {
  test(`execution ids find nodes, inside subgraphs too (${kind} ids)`, () => {
    const inner = { name: "inner" };
    const outer = { name: "outer", subgraph: graphOf({ 3: inner }, kind, "sub") };
    const root = graphOf({ 5: outer, 7: { name: "plain" } }, kind);
    assert.equal(findNode(root, "7").name, "plain");
    assert.equal(findNode(root, "5:3").name, "inner");
    assert.equal(findNode(root, "9:7").name, "plain", "by the last part");
    assert.equal(findNode(root, "9:8"), null);
    assert.equal(outputKey(inner, root), "sub:3");
    assert.equal(outputKey(outer, root), "5");
  });
}

test("a combo value names a file, its folder and its kind", () => {
  assert.deepEqual(fileOf("anna.png"), { filename: "anna.png", subfolder: "", type: "input" });
  assert.deepEqual(fileOf("a/b/anna [2].png [output]"), { filename: "anna [2].png", subfolder: "a/b", type: "output" });
  assert.deepEqual(fileOf("clipspace/m.png [temp]"), { filename: "m.png", subfolder: "clipspace", type: "temp" });
});

const loader = { type: "LoadImage", mode: 0, widgets: [{ name: "image", value: "anna.png" }] };
const behind = (source, type = "PersonaLivePrepareReference") => ({
  type,
  mode: 0,
  inputs: [{ name: "image" }],
  getInputNode: () => source,
  isInputConnected: () => source !== null,
});

test("a node that is not yet in a graph has no file: newer front ends throw when it is asked for its links", () => {
  const node = { inputs: [{ name: "image" }], graph: null, getInputNode: () => assert.fail("asked") };
  assert.equal(linkedFile(node, "image"), null);
});

test("the file before an input is found through reroutes", () => {
  assert.equal(linkedFile(behind(loader), "image").filename, "anna.png");
  assert.equal(linkedFile(behind(behind(behind(loader, "Reroute"), "Reroute")), "image").filename, "anna.png");
});

test("the film before an input is found, also where its parts are taken apart", () => {
  const film = { type: "LoadVideo", mode: 0, widgets: [{ name: "file", value: "clips/walk.mp4" }] };
  const expected = { filename: "walk.mp4", subfolder: "clips", type: "input", isFilm: true };
  assert.deepEqual(linkedFile(behind(film), "image"), expected);
  assert.deepEqual(linkedFile(behind(behind(film, "GetVideoComponents")), "image"), expected);
  assert.equal(linkedFile(behind(loader), "image").isFilm, false);
});

test("no file is known behind other nodes, a muted loader, or nothing", () => {
  for (const source of [behind(loader, "ImageScale"), { ...loader, mode: 2 }, null, behind(null, "Reroute")]) {
    assert.equal(linkedFile(behind(source), "image"), null);
  }
  assert.equal(linkedFile(behind(loader), "mask"), null);
  const ring = behind(null, "Reroute");
  ring.getInputNode = () => ring;
  assert.equal(linkedFile(behind(ring), "image"), null, "a ring of reroutes ends");
});

test("whether an input is connected", () => {
  assert.equal(isLinked(behind(loader), "image"), true);
  assert.equal(isLinked(behind(null), "image"), false);
  assert.equal(isLinked(behind(loader), "face_box"), false);
});
