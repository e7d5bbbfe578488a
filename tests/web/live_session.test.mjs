// The panel on a Live Session node, run after run, with stand-ins for page and live panel.

import assert from "node:assert/strict";
import { test } from "node:test";

import { liveSessionPanel } from "../../web/js/live_session.js";

const created = [];
globalThis.document = {
  createElement() {
    const made = { classList: { add() {} }, style: {}, setAttribute() {}, append() {}, addEventListener() {} };
    created.push(made);
    return made;
  },
};

const node = () => ({ size: [0, 0], addDOMWidget: () => ({}), setSize() {}, computeSize: () => [0, 0], setDirtyCanvas() {} });

function stage() {
  const panels = [];
  const build = (_, given) => {
    panels.push({ ...given, closed: false });
    return { close: () => (panels.at(-1).closed = true) };
  };
  const given = { words: { liveEmpty: "run", liveOver: "over" }, place: {}, locale: "en", liveUrl: () => "", build };
  return { panels, show: liveSessionPanel(node(), given) };
}

test("a session that Start took up again goes on through the next run", () => {
  const { panels, show } = stage();
  show({ token: "a" });
  const line = created.findLast(({ textContent }) => textContent === "");
  panels[0].onEnded({ why: "gone", text: "" });
  assert.equal(line.textContent, "over");
  panels[0].onBegun();
  assert.equal(line.textContent, "");
  show({ token: "a" });
  assert.deepEqual([panels.length, panels[0].closed], [1, false]);
});

test("a run after the end begins the panel anew", () => {
  const { panels, show } = stage();
  show({ token: "a" });
  panels[0].onBegun();
  panels[0].onEnded({ why: "ended", text: "" });
  show({ token: "a" });
  assert.deepEqual([panels.length, panels[0].closed], [2, true]);
});
