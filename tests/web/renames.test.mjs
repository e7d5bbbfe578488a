// Workflows of before: their nodes and sockets get today's names, and nothing else changes.

import assert from "node:assert/strict";
import { test } from "node:test";

import { renameOldIds } from "../../web/js/renames.js";

const nobodys = () => false;

const nodeOf = (type, inputs = [], outputs = []) => ({
  id: 4,
  type,
  title: "PrepareReference",
  inputs: inputs.map((kind) => ({ name: "REFERENCE", type: kind })),
  outputs: outputs.map((kind) => ({ name: "REFERENCE", type: kind })),
  properties: { "Node name for S&R": type },
  widgets_values: ["LoadMotion"],
});

const workflowOf = (from, to, socket) => ({
  nodes: [nodeOf(from, ["IMAGE"], [socket]), nodeOf("Reroute", ["*"], [socket]), nodeOf(to, [socket])],
  links: [
    [1, 4, 0, 5, 0, socket],
    [2, 3, 0, 4, 0, "IMAGE"],
  ],
});

for (const [old, fresh] of [
  ["REFERENCE", "PERSONALIVE_REFERENCE"],
  ["HYBRID_MOTION", "PERSONALIVE_MOTION"],
  ["KEYFRAME_BANK", "PERSONALIVE_KEYFRAME_BANK"],
]) {
  test(`nodes, sockets and links of ${old} are renamed, and no other text`, () => {
    const workflow = workflowOf("PrepareReference", "KeypointInterpolate", old);
    renameOldIds(workflow, nobodys);
    assert.deepEqual(workflow, {
      ...workflowOf("PersonaLivePrepareReference", "KeypointInterpolate", fresh),
    });
    const once = structuredClone(workflow);
    renameOldIds(workflow, nobodys);
    assert.deepEqual(workflow, once, "a second time changes nothing");
  });
}

test("inside subgraphs too, with their own sockets and links", () => {
  const subgraph = (id, socket) => ({
    id: "a",
    nodes: [nodeOf(id, [], [socket])],
    links: [{ id: 1, origin_id: 4, target_id: -20, type: socket }],
    inputs: [{ name: "motion", type: socket }],
    outputs: [{ name: "out", type: socket }],
  });
  const whole = (id, socket) => ({
    nodes: [nodeOf("a", [socket], [socket])],
    links: [],
    definitions: { subgraphs: [subgraph(id, socket)] },
  });
  const workflow = whole("BlendMotion", "HYBRID_MOTION");
  renameOldIds(workflow, nobodys);
  assert.deepEqual(workflow, whole("PersonaLiveBlendMotion", "PERSONALIVE_MOTION"));
});

test("another pack's node of the same id stays, and so does a workflow without our old nodes", () => {
  const theirs = workflowOf("LoadMotion", "KeypointInterpolate", "HYBRID_MOTION");
  const before = structuredClone(theirs);
  renameOldIds(theirs, (id) => id === "LoadMotion");
  assert.deepEqual(theirs, before);
  const other = workflowOf("PersonaLivePrepareReference", "OtherPack", "REFERENCE");
  const kept = structuredClone(other);
  renameOldIds(other, nobodys);
  assert.deepEqual(other, kept);
});

test("what is no whole workflow is left alone", () => {
  for (const odd of [null, {}, { nodes: null }, { nodes: [{ type: "PasteBack" }] }]) renameOldIds(odd, nobodys);
});
