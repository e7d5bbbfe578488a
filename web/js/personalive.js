// The ComfyUI page extension of this pack: adds panels to its nodes, passes server events to them, renames old nodes.

import { app } from "../../scripts/app.js";
import { api } from "../../scripts/api.js";
import { comparePlayer } from "./compare_player.js";
import { chain, element, widen } from "./dom.js";
import { expressionEditor } from "./expression_editor.js";
import { DRIVING, facePicker, LIVE_DRIVING, SOURCE, SOURCE_FILM } from "./face_picker.js";
import { readable } from "./films.js";
import { fileOf, findNode, outputKey, widgetOf } from "./graph.js";
import { liveSessionPanel } from "./live_session.js";
import { panelOutputs } from "./outputs.js";
import { fillPrefix } from "./prefixes.js";
import { findGone } from "./presence.js";
import { dropPreview } from "./previews.js";
import { renameOldIds } from "./renames.js";
import { samplerPanel } from "./sampler_panel.js";
import { fill, wordsFor } from "./strings.js";
import { STYLE } from "./style.js";
import { folderOf, listInOrder } from "./templates.js";

/** Pixels: so wide is a new node that shows a film. */
const WIDE = 420;

/** Tells the pack's route that this page asks: no other site can set it. */
const OURS = { "X-PersonaLive": "1" };

/** Milliseconds between two looks for nodes that have gone without a word. */
const LOOK_EVERY_MS = 1000;

/** Statuses of a preview whose edit is over: a wrong token, or no such path any more. */
const GONE = [403, 404, 405];

const SAMPLER = { key: "personalive_run", panel: samplerPanel };
const COMPARE = { key: "personalive_compare", panel: comparePlayer };
const FACES = "personalive_faces";
const picker = (kind) => ({ key: FACES, panel: (node, given) => facePicker(node, given, kind) });
const LIVE = { key: "personalive_live", panel: liveSessionPanel };
const EDITOR = { key: "personalive_editor", panel: expressionEditor };
const PANELS = {
  StreamingSampler: [SAMPLER, COMPARE],
  PersonaLiveStreamingSamplerVideo: [SAMPLER, COMPARE],
  PersonaLivePasteBack: [COMPARE],
  PersonaLiveLiveSession: [LIVE],
  PersonaLiveLivePortraitSession: [LIVE],
  PersonaLiveExpressionEditor: [EDITOR],
  PersonaLivePrepareSource: [picker(SOURCE)],
  PersonaLivePrepareSourceVideo: [picker(SOURCE_FILM)],
  PersonaLiveExtractImplicitMotion: [picker(LIVE_DRIVING)],
  PersonaLiveRenderVideo: [COMPARE],
  PersonaLiveHunyuanVideo: [COMPARE],
  PersonaLivePrepareReference: [{ key: FACES, panel: facePicker }],
  ExtractHybridMotion: [picker(DRIVING)],
};

const SAVES = new Set([
  "PersonaLiveStreamingSamplerVideo", "PersonaLivePasteBack", "PersonaLiveSaveMotion", "PersonaLiveSaveExpression",
  "PersonaLiveRenderVideo", "PersonaLiveHunyuanVideo",
]);

const root = () => app.rootGraph ?? app.graph;

const viewUrl = ({ filename, subfolder, type }) =>
  api.apiURL(`/view?${new URLSearchParams({ filename, subfolder, type })}${app.getRandParam()}`);

/**
 * Asks the server for faces: {width, height, faces [left, top, right, bottom] in pixels, detects, image}, or {error}, a
 * sentence. `start`: seconds of a film.
 */
async function findFaces({ filename, subfolder, type }, detector, start, words) {
  try {
    const query = new URLSearchParams({ filename, subfolder, type, detector, start });
    const response = await api.fetchApi(`/personalive/faces?${query}`, { headers: OURS });
    const answer = await response.json();
    if (response.ok || answer.error) return answer;
    throw new Error(response.statusText);
  } catch (reason) {
    return { error: fill(words.facesFailed, { reason: reason.message }) };
  }
}

/** Asks the server for a picture of what the Expression Editor's widgets say: see preview_loop.js for the answers. */
async function askPreview(body, words) {
  try {
    const headers = { ...OURS, "Content-Type": "application/json" };
    const options = { method: "POST", headers, body: JSON.stringify(body) };
    const response = await api.fetchApi("/personalive/expression", options);
    if (GONE.includes(response.status)) return { over: true };
    if (response.status === 204) return { again: true };
    if (response.ok && response.headers.get("Content-Type") === "image/jpeg") return { picture: await response.blob() };
    const answer = await response.json();
    if (answer.busy || answer.error) return answer;
    throw new Error(response.statusText);
  } catch (reason) {
    return { error: fill(words.editorFailed, { reason: reason.message }) };
  }
}

/** The address of the live connection on this page's server. */
function liveUrl() {
  const url = new URL(api.apiURL("/personalive/live"), location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** The pictures of the graph's Load Image nodes: [{name, url}]. */
function graphImages() {
  const loaders = (root().nodes ?? root()._nodes).filter(({ type }) => type === "LoadImage");
  const values = loaders.map((node) => widgetOf(node, "image")?.value).filter((value) => typeof value === "string");
  return [...new Set(values)].map((name) => ({ name, url: viewUrl(fileOf(name)) }));
}

const locale = () => app.ui.settings.getSettingValue("Comfy.Locale");

const tools = () => ({
  words: wordsFor(locale()),
  locale: locale(),
  liveUrl,
  graphImages,
  place: { canvas: () => app.canvas, isVue: () => Boolean(globalThis.LiteGraph?.vueNodesMode) },
  viewUrl,
  findFaces,
  askPreview,
});

const shows = new WeakMap(); // node -> {output key: function that shows this output}
const running = new Set(); // execution ids of samplers whose run has begun and not ended

function showFilm(node, films) {
  shows.get(node)?.[COMPARE.key]?.(films);
  if (films !== null) dropPreview(app, node, outputKey(node, root()));
}

function showOutput(node, output) {
  const ours = panelOutputs(output);
  for (const [key, show] of Object.entries(shows.get(node) ?? {})) {
    if (!Object.hasOwn(ours, key)) continue;
    if (key === COMPARE.key) showFilm(node, ours[key]);
    else show(ours[key], true);
  }
}

/** Shows an event of a sampler's run; a run that ended early brings its film. */
function showProgress(event) {
  const node = findNode(root(), event.node);
  if (event.last || event.stopped) running.delete(event.node);
  else running.add(event.node);
  shows.get(node)?.[SAMPLER.key]?.(event, false);
  if (node && event.compare) showFilm(node, event.compare);
}

/** The prompt ended: a run that goes on in its panel has been stopped, whatever its sampler could still say. */
function stopAll() {
  for (const node of [...running]) showProgress({ node, stopped: true });
}

app.registerExtension({
  name: "PersonaLive.Panels",

  init() {
    listInOrder(api, folderOf(import.meta.url));
  },

  setup() {
    document.head.append(element("style", {}, STYLE));
    setInterval(() => findGone(root()), LOOK_EVERY_MS);
    const open = app.handleFile;
    app.handleFile = (file, ...rest) => open.call(app, readable(file), ...rest);
    api.addEventListener("personalive.progress", ({ detail }) => showProgress(detail));
    for (const end of ["execution_interrupted", "execution_error"]) api.addEventListener(end, stopAll);
    api.addEventListener("executing", ({ detail }) => {
      const node = typeof detail === "string" ? findNode(root(), detail) : null;
      if (node) showFilm(node, null); // a new run of this node makes a new film
    });
  },

  beforeConfigureGraph(workflow) {
    renameOldIds(workflow, (id) => id in LiteGraph.registered_node_types);
  },

  nodeCreated(node) {
    const prefix = SAVES.has(node.comfyClass) ? widgetOf(node, "filename_prefix") : null;
    if (prefix) prefix.serializeValue = () => fillPrefix(prefix.value, root(), new Date());
    const panels = PANELS[node.comfyClass];
    if (!panels) return;
    const given = tools();
    if (panels.includes(COMPARE) || panels.includes(LIVE) || panels.includes(EDITOR)) widen(node, WIDE);
    shows.set(node, Object.fromEntries(panels.map(({ key, panel }) => [key, panel(node, given)])));
    chain(node, "onExecuted", (output) => showOutput(node, output));
  },

  /** A return to a workflow's tab rebuilds its nodes. The front end restores their outputs a moment later. */
  loadedGraphNode(node) {
    if (!shows.has(node)) return;
    setTimeout(() => {
      findGone(root()); // a live session has one page: the panel of before must have left it
      showOutput(node, app.nodeOutputs?.[outputKey(node, root())]);
    }, 0);
  },
});
