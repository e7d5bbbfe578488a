// The pack's extension of the page: gives its nodes their panels, and the server's events to the panels.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { comparePlayer } from "./compare_player.js";
import { chain, element } from "./dom.js";
import { facePicker } from "./face_picker.js";
import { findNode, outputKey } from "./graph.js";
import { samplerPanel } from "./sampler_panel.js";
import { fill, wordsFor } from "./strings.js";
import { STYLE } from "./style.js";

const SAMPLER = { key: "personalive_run", panel: samplerPanel };
const COMPARE = { key: "personalive_compare", panel: comparePlayer };
const PANELS = {
  StreamingSampler: [SAMPLER],
  StreamingSamplerVideo: [SAMPLER, COMPARE],
  PasteBack: [COMPARE],
  PrepareReference: [{ key: "personalive_faces", panel: facePicker }],
};

const root = () => app.rootGraph ?? app.graph;

const viewUrl = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}${app.getRandParam()}`);

/** {width, height, faces}, or {error} in a sentence; boxes are [left, top, right, bottom] in pixels. */
async function findFaces(file, detector, words) {
  try {
    const response = await api.fetchApi(`/personalive/faces?${new URLSearchParams({ ...file, detector })}`);
    const answer = await response.json();
    if (response.ok || answer.error) return answer;
    throw new Error(response.statusText);
  } catch (reason) {
    return { error: fill(words.facesFailed, { reason: reason.message }) };
  }
}

const tools = () => ({
  words: wordsFor(app.ui.settings.getSettingValue("Comfy.Locale")),
  place: { canvas: () => app.canvas, isVue: () => Boolean(globalThis.LiteGraph?.vueNodesMode) },
  viewUrl,
  findFaces,
});

const shows = new WeakMap(); // node -> {output key: function that shows it}

function showOutput(node, output) {
  for (const [key, show] of Object.entries(shows.get(node) ?? {})) {
    if (output?.[key]?.[0]) show(output[key][0], true);
  }
}

app.registerExtension({
  name: "PersonaLive.Panels",

  setup() {
    document.head.append(element("style", {}, STYLE));
    api.addEventListener("personalive.progress", ({ detail }) => {
      const node = findNode(root(), detail.node);
      shows.get(node)?.[SAMPLER.key]?.(detail, false);
    });
  },

  nodeCreated(node) {
    const panels = PANELS[node.comfyClass];
    if (!panels) return;
    const given = tools();
    shows.set(node, Object.fromEntries(panels.map(({ key, panel }) => [key, panel(node, given)])));
    chain(node, "onExecuted", (output) => showOutput(node, output));
  },

  /** Coming back to a workflow's tab rebuilds its nodes; the front end puts its outputs back a moment later. */
  loadedGraphNode(node) {
    if (!shows.has(node)) return;
    setTimeout(() => showOutput(node, app.nodeOutputs?.[outputKey(node, root())]), 0);
  },
});
