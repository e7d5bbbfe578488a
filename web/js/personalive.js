// The ComfyUI page extension of this pack: adds panels to its nodes, passes server events to them, renames old nodes.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { comparePlayer } from "./compare_player.js";
import { chain, element } from "./dom.js";
import { facePicker } from "./face_picker.js";
import { findNode, outputKey } from "./graph.js";
import { renameOldIds } from "./renames.js";
import { samplerPanel } from "./sampler_panel.js";
import { fill, wordsFor } from "./strings.js";
import { STYLE } from "./style.js";
import { folderOf, listInOrder } from "./templates.js";

const SAMPLER = { key: "personalive_run", panel: samplerPanel };
const COMPARE = { key: "personalive_compare", panel: comparePlayer };
const PANELS = {
  StreamingSampler: [SAMPLER],
  PersonaLiveStreamingSamplerVideo: [SAMPLER, COMPARE],
  PersonaLivePasteBack: [COMPARE],
  PersonaLivePrepareReference: [{ key: "personalive_faces", panel: facePicker }],
};

const root = () => app.rootGraph ?? app.graph;

const viewUrl = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}${app.getRandParam()}`);

/** Asks the server for faces: {width, height, faces [left, top, right, bottom] in pixels}, or {error}, a sentence. */
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

const shows = new WeakMap(); // node -> {output key: function that shows this output}

function showOutput(node, output) {
  for (const [key, show] of Object.entries(shows.get(node) ?? {})) {
    if (output?.[key]?.[0]) show(output[key][0], true);
  }
}

app.registerExtension({
  name: "PersonaLive.Panels",

  init() {
    listInOrder(api, folderOf(import.meta.url));
  },

  setup() {
    document.head.append(element("style", {}, STYLE));
    api.addEventListener("personalive.progress", ({ detail }) => {
      const node = findNode(root(), detail.node);
      shows.get(node)?.[SAMPLER.key]?.(detail, false);
    });
  },

  beforeConfigureGraph(workflow) {
    renameOldIds(workflow, (id) => id in LiteGraph.registered_node_types);
  },

  nodeCreated(node) {
    const panels = PANELS[node.comfyClass];
    if (!panels) return;
    const given = tools();
    shows.set(node, Object.fromEntries(panels.map(({ key, panel }) => [key, panel(node, given)])));
    chain(node, "onExecuted", (output) => showOutput(node, output));
  },

  /** A return to a workflow's tab rebuilds its nodes. The front end restores their outputs a moment later. */
  loadedGraphNode(node) {
    if (!shows.has(node)) return;
    setTimeout(() => showOutput(node, app.nodeOutputs?.[outputKey(node, root())]), 0);
  },
});
