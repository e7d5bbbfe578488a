// Films that the page can open, and names with dates and other nodes' values in them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { readable } from "../../web/js/films.js";
import { fillPrefix } from "../../web/js/prefixes.js";

test("a Matroska film is given to the page as webm, by its name or its type", () => {
  for (const [name, type] of [["a.mkv", ""], ["b.MKV", "video/x-matroska"], ["c", "video/matroska"]]) {
    const given = readable(new File(["film"], name, { type, lastModified: 7 }));
    assert.deepEqual([given.name, given.type, given.size, given.lastModified], [name, "video/webm", 4, 7]);
  }
});

test("other files stay as they are", () => {
  for (const file of [new File(["x"], "mkv.mp4", { type: "video/mp4" }), new File(["x"], "a.png"), null, undefined]) {
    assert.equal(readable(file), file);
  }
});

const NOW = new Date(2026, 2, 4, 5, 6, 7);
const inner = { title: "Inside", widgets: [{ name: "size", value: 64 }] };
const GRAPH = {
  nodes: [
    { title: "Sampler", properties: { "Node name for S&R": "KSampler" }, widgets: [{ name: "seed", value: 42 }] },
    { title: "KSampler", properties: {}, widgets: [{ name: "seed", value: 1 }] },
    { title: "Load", widgets: [{ name: "file", value: 'a/b:c"d\u0001.png' }, { name: "none", value: null }] },
    { title: "Group", subgraph: { _nodes: [inner] } },
  ],
};
const filled = (text) => fillPrefix(text, GRAPH, NOW);

test("dates are filled", () => {
  assert.equal(filled("%date:yyyy-MM-dd%/x"), "2026-03-04/x");
  assert.equal(filled("a_%date:yy-M-d_hh.mm.ss%_%date:hms%"), "a_26-3-4_05.06.07_567");
});

test("values of other nodes are filled: by search name, by title, inside subgraphs, as names of files", () => {
  assert.equal(filled("x_%KSampler.seed%_y"), "x_42_y");
  assert.equal(filled("%Sampler.seed%-%Inside.size%"), "42-64");
  assert.equal(filled("%Load.file%"), "a_b_c_d_.png");
  assert.equal(filled("a%Load.none%b"), "ab");
});

test("what is not known stays", () => {
  for (const text of ["", "plain", "100%", "%width%x%height%", "%Nobody.seed%", "%KSampler.gone%", "%.seed%"]) {
    assert.equal(filled(text), text);
  }
});
