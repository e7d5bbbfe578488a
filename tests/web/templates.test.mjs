// The template browser lists the pack's templates by name, and other packs' as the server gives them.

import assert from "node:assert/strict";
import { test } from "node:test";

import { folderOf, inOrder, listInOrder } from "../../web/js/templates.js";

const GIVEN = { other: ["b", "a"], "personalive-comfyui": ["02 long video", "01 try it", "10 x"] };

test("only ours are sorted, and the given list stays", () => {
  assert.deepEqual(inOrder(GIVEN, "personalive-comfyui"), {
    other: ["b", "a"],
    "personalive-comfyui": ["01 try it", "02 long video", "10 x"],
  });
  assert.equal(GIVEN["personalive-comfyui"][0], "02 long video");
  assert.deepEqual(inOrder({ other: ["b", "a"] }, "personalive-comfyui"), { other: ["b", "a"] });
  assert.equal(inOrder(undefined, "x"), undefined);
});

test("the pack's folder is read from the script's address, below any path of the server", () => {
  assert.equal(folderOf("http://127.0.0.1:8188/extensions/personalive-comfyui/personalive.js"), "personalive-comfyui");
  assert.equal(folderOf("https://h/comfy/extensions/My%20pack/personalive.js?v=1"), "My pack");
});

test("the page's own question is answered in order", async () => {
  const api = { templates: GIVEN, async getWorkflowTemplates() { return this.templates; } };
  listInOrder(api, "personalive-comfyui");
  assert.equal((await api.getWorkflowTemplates())["personalive-comfyui"][0], "01 try it");
  const bare = {};
  listInOrder(bare, "x");
  assert.deepEqual(bare, {});
});
