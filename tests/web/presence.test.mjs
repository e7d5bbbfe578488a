// Nodes that come and go, in the graph and in subgraphs of it.

import assert from "node:assert/strict";
import { test } from "node:test";

import { findGone, followNode } from "../../web/js/presence.js";

/** A node that counts how often it has come and gone. */
function followed() {
  const node = { came: 0, went: 0 };
  followNode(node, () => (node.went += 1), () => (node.came += 1));
  followNode(node, () => (node.went += 1)); // another panel of it
  return node;
}

test("a node that is removed has gone, and may come again", () => {
  const node = followed();
  node.onAdded();
  findGone({ nodes: [node] });
  assert.deepEqual([node.came, node.went], [1, 0]);
  node.onRemoved();
  findGone({ nodes: [] });
  assert.deepEqual([node.came, node.went], [1, 2]);
  node.onAdded();
  assert.equal(node.came, 2);
  node.onRemoved();
});

test("a node of a subgraph has gone with it, though nobody says so", () => {
  const node = followed();
  const outer = { subgraph: { nodes: [{ subgraph: { nodes: [node] } }] } };
  node.onAdded();
  findGone({ _nodes: [outer] });
  assert.equal(node.went, 0);
  findGone({ _nodes: [] });
  findGone({ _nodes: [] });
  assert.equal(node.went, 2);
});

test("a node that is in no graph yet has not gone", () => {
  const node = followed();
  findGone({ nodes: [] });
  assert.equal(node.went, 0);
});
