"""The pack in a real page: its scripts, every workflow, the Run button, the face picker, templates and help."""

import json
import os
import re
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from personalive_core.backends.personalive.files import FILES
from personalive_core.media.picture import read_image
from personalive_core.media.video import read_frames
from personalive_core.media.write import VideoWriter
from tests.comfyui.page import load_api, load_ui, open_page, to_api, to_ui
from tests.comfyui.server import PACK, ROOT, ComfyUI
from tests.comfyui.snapshot import stored
from tests.comfyui.test_nodes import MEDIA, shipped
from tests.comfyui.test_renames import IDS, as_before

pytestmark = [pytest.mark.comfyui, pytest.mark.browser, pytest.mark.timeout(600)]

TEMPLATES = {path.stem.partition(" ")[2].replace(" ", "_"): path for path in (ROOT / "workflows").glob("*.json")}
NAMES = sorted(TEMPLATES)
SIZE, COUNT = 64, 8
PREPARE, EXTRACT, SAMPLER = "PersonaLivePrepareReference", "ExtractHybridMotion", "PersonaLiveStreamingSamplerVideo"
PASTE = "PersonaLivePasteBack"
DETECTOR = "yunet" if "PERSONALIVE_YUNET" in os.environ else "none"
# widgets that newer pages or ComfyUI add to its own nodes: the preview is the page's, which the server ignores
NEWER = {"LoadVideo": ["video-preview"], "CreateVideo": ["bit_depth"]}
BLUEPRINT = "Animate a portrait"
# what a CPU can do in seconds, by node and widget
SMALL = {
    "LoadPersonaLive": {"decoder": "tiny", "download_if_missing": False},
    PREPARE: {"size": SIZE, "detector": DETECTOR},
    "ExtractHybridMotion": {"detector": "none", "count": COUNT},
    "PersonaLiveStreamingSamplerVideo": {"filename_prefix": "blueprint/film"},
}
# joins the blueprint's node to both files, and tells the names of the sockets it joined
CONNECT = """([title, wanted]) => {
  const graph = window.app.graph, node = graph._nodes.find(n => n.title === title), joined = [];
  for (const [type, name] of [['LoadImage', 'image'], ['LoadVideo', 'driving']]) {
    graph._nodes.find(n => n.type === type).connect(0, node, node.inputs.findIndex(i => i.name === name));
    if (node.inputs.find(i => i.name === name).link != null) joined.push(name);
  }
  for (const inner of node.subgraph.nodes)
    for (const [name, value] of Object.entries(wanted[inner.type] ?? {}))
      inner.widgets.find(w => w.name === name).value = value;
  return joined;
}"""
ENDED = """() => new Promise(done => {
  const api = window.app.api ?? window.comfyAPI.api.api;
  window.ended = { previews: 0, panel: 0 };
  api.addEventListener('b_preview_with_metadata', () => window.ended.previews++);
  api.addEventListener('personalive.progress', () => window.ended.panel++);
  for (const kind of ['execution_success', 'execution_error', 'execution_interrupted'])
    api.addEventListener(kind, e => { window.ended.kind = kind; window.ended.error = e.detail?.exception_message; });
  done(true);
})"""
# what the search box lists
SEARCH = """words => document.getElementById('vue-app').__vue_app__.config.globalProperties.$pinia._s.get('nodeDef')
    .nodeSearchService.searchNode(words, [], { limit: 64 }).map(node => node.name)"""
# where a widget's element lies, whether the canvas or the page draws the node
WIDGET = """([type, name]) => {
  const node = window.app.graph._nodes.find(n => n.type === type);
  const at = node.widgets.findIndex(w => w.name === name);
  return node.widgets[at].value;
}"""

SET = """([type, name, value]) => {
  window.app.graph._nodes.find(n => n.type === type).widgets.find(w => w.name === name).value = value;
}"""


# of the sampler's node: pictures that the front end shows, films shown, the film's width and the panel's in pixels
SAMPLER_SEEN = """type => {
  const node = window.app.graph._nodes.find(n => n.type === type);
  const shown = [...document.querySelectorAll('.personalive-videos figure:not([hidden]) video')];
  const preview = window.app.nodePreviewImages?.[String(node.id)] ?? [];
  return {
    pictures: (node.imgs?.length ?? 0) + preview.length, shown: shown.length,
    film: Math.min(shown[0].clientWidth, shown[0].clientHeight),
    room: shown[0].closest('.personalive-panel').clientWidth,
  };
}"""
FILMS = """() => [...document.querySelectorAll('.personalive-videos figure:not([hidden]) video')]
  .filter(v => v.getAttribute('src')).map(v => new URL(v.src).searchParams.get('filename'))"""
# how many media the front ends count in each finished run: every item of every output
COUNTS = """async () => Object.values(await (await fetch('/history')).json()).map(run =>
  Object.values(run.outputs).flatMap(output => Object.entries(output))
    .filter(([name]) => name !== 'animated').reduce((sum, [, items]) => sum + items.length, 0))"""

# from now on the page keeps the timers by which face pickers look at their inputs
LOOKING = """() => {
  const [begin, end] = [window.setInterval, window.clearInterval];
  window.looking = new Set();
  window.setInterval = (call, after, ...rest) => {
    const timer = begin(call, after, ...rest);
    if (after === 400) window.looking.add(timer);
    return timer;
  };
  window.clearInterval = timer => { window.looking.delete(timer); end(timer); };
}"""


@pytest.fixture(
    scope="module",
    params=["pinned", "newest", pytest.param("newest, Vue nodes", id="vue")],
)
def page(request, tmp_path_factory, standin_folder, media, checkout):  # noqa: ARG001
    """A page of the front end that ComfyUI pins, or of the one in COMFYUI_FRONTEND, in classic and in Vue nodes."""
    arguments, settings = ["--cpu"], {}
    if request.param != "pinned":
        if "COMFYUI_FRONTEND" not in os.environ:
            pytest.skip("set COMFYUI_FRONTEND to the `static` folder of a newer comfyui-frontend-package to run it")
        arguments += ["--front-end-root", os.environ["COMFYUI_FRONTEND"]]
        settings = {"Comfy.VueNodes.Enabled": "Vue" in request.param}
    folder = tmp_path_factory.mktemp("page")
    inputs = [two_faces(media, folder), pair(folder), *(media / name for name in ("expression.png", "driving.mp4"))]
    comfyui = ComfyUI(folder, standin_folder, inputs, arguments=arguments)
    if DETECTOR == "yunet":
        shutil.copy(os.environ["PERSONALIVE_YUNET"], comfyui.base / "models" / "personalive" / FILES[-1].path)
    with comfyui as server:
        (server.base / "output" / "motion").mkdir()
        with open_page(server.url, settings) as (page, seen):
            yield page, seen, server


def two_faces(media, folder):
    """The portrait twice, side by side: 512x256."""
    face = Image.open(media / "portrait.png").convert("RGB").resize((256, 256))
    both = Image.new("RGB", (512, 256))
    both.paste(face, (0, 0))
    both.paste(face, (256, 0))
    both.save(folder / "portrait.png")
    return folder / "portrait.png"


def pair(folder):
    """A film of the two."""
    picture = read_image(folder / "portrait.png")
    with VideoWriter(folder / "pair.mp4", (512, 256)) as writer:
        for _ in range(COUNT):
            writer.write(picture)
    return folder / "pair.mp4"


def read(name):
    """A template in the page's format, by the name that it has in workflows/api."""
    return json.loads(TEMPLATES[name].read_text(encoding="utf-8"))


def small(workflow):
    """A UI-format workflow with the values that a CPU can do in seconds."""
    wanted = {
        "LoadPersonaLive": {1: "fp32", 2: "tiny", 4: False},
        PREPARE: {0: SIZE, 1: DETECTOR},
        "ExtractHybridMotion": {0: "none", 6: COUNT, 7: 0},
    }
    for node in workflow["nodes"]:
        values = node.get("widgets_values")
        if node["type"] in ("LoadImage", "LoadVideo"):
            values[0] = MEDIA[values[0]]
        for index, value in wanted.get(node["type"], {}).items():
            node["widgets_values"][index] = value
    return workflow


def run_it(page):
    """A click on Run, until the prompt has ended."""
    page.evaluate(ENDED)
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.wait_for_function("() => window.ended.kind", timeout=240_000)
    return page.evaluate("() => window.ended")


def films(page):
    """The names of the films in the players."""
    return page.evaluate(FILMS)


def widget(page, node, name):
    return page.evaluate(WIDGET, [node, name])


def without_newer(workflow):
    """An API-format workflow without the inputs of core nodes that only newer ComfyUI has, or that come late."""
    for node in workflow.values():
        for newer in NEWER.get(node["class_type"], ()):
            node["inputs"].pop(newer, None)
    return workflow


def test_the_packs_scripts_load_and_ask_nobody_else(page):
    page, seen, _ = page
    assert page.evaluate("() => window.app.extensions.some(e => e.name.startsWith('PersonaLive'))")
    assert not seen.ours()
    assert not seen.foreign


@pytest.mark.parametrize("name", NAMES)
def test_each_workflow_loads_whole_and_is_its_api_twin(page, name):
    page, seen, _ = page
    load_ui(page, read(name))
    nodes = page.evaluate("() => window.app.graph._nodes.map(n => [n.type, !!n.has_errors, !n.constructor.nodeData])")
    assert len(nodes) == len(read(name)["nodes"])
    # a note is the page's own and has no nodeData
    assert not [node for node in nodes if node[1] or (node[2] and node[0] != "MarkdownNote")]
    twin = shipped(name)
    expected = {key: (node["class_type"], node["inputs"]) for key, node in twin.items()}
    posted = {key: (node["class_type"], node["inputs"]) for key, node in without_newer(to_api(page)).items()}
    assert posted == expected
    assert not page.get_by_text("Invalid workflow").count()
    assert not seen.ours()


def of_before(name):
    """Whether it has a node that once had another id: younger ones were never saved with the old socket types."""
    return bool({node["type"] for node in read(name)["nodes"]} & {f"PersonaLive{old}" for old in IDS})


@pytest.mark.parametrize("name", filter(of_before, NAMES))
def test_a_workflow_of_before_is_todays(page, name):
    page, seen, _ = page
    load_ui(page, read(name))
    today, types = without_newer(to_api(page)), link_types(page)
    load_ui(page, as_before(read(name)))
    assert without_newer(to_api(page)) == today
    assert link_types(page) == types
    assert not seen.ours()


def test_a_subgraph_of_before_is_todays(page):
    """Its own sockets too: they take new links of today's types alone."""
    page, seen, _ = page
    load_ui(page, read("paste_back"))
    page.evaluate("""() => {
      const graph = window.app.graph, ours = n => ['PersonaLivePasteBack', 'KeypointInterpolate'].includes(n.type);
      graph.convertToSubgraph(new Set(graph._nodes.filter(ours)));
    }""")
    saved, today = to_ui(page), to_api(page)
    load_ui(page, as_before(saved))
    assert to_api(page) == today
    slots = page.evaluate("""() => [...window.app.graph.subgraphs.values()].flatMap(
        inner => [...inner.inputs, ...inner.outputs].map(slot => slot.type))""")
    assert "PERSONALIVE_REFERENCE" in slots
    assert not {"REFERENCE", "HYBRID_MOTION"} & set(slots)
    assert not seen.ours()


def link_types(page):
    """What the links on the canvas carry."""
    return page.evaluate("() => [...window.app.graph.links.values()].map(link => String(link.type)).sort()")


def test_the_node_search_finds_every_node(page):
    page, _, _ = page
    words = ["PersonaLive"]
    if page.evaluate("async () => 'search_aliases' in (await (await fetch('/api/object_info')).json()).KSampler"):
        words += ["live portrait", "face", "talking head"]
    for word in words:
        assert set(stored()) <= set(page.evaluate(SEARCH, word)), word


def test_saving_and_loading_again_changes_nothing(page):
    page, _, _ = page
    load_ui(page, read("paste_back"))
    once = to_api(page)
    saved = to_ui(page)
    load_ui(page, saved)
    assert to_api(page) == once


def test_the_run_button_runs_and_the_panels_show_it(page):
    page, seen, server = page
    load_ui(page, small(read("long_video")))
    ended = run_it(page)
    assert ended["kind"] == "execution_success", ended
    assert ended["previews"] >= 1
    assert ended["panel"] >= 2
    page.wait_for_timeout(1500)
    text = page.locator("body").inner_text()
    assert f"{COUNT} / {COUNT}" in text
    assert films(page) == ["PersonaLive_00001_.mp4"]
    bring(page, SAMPLER)
    seen_as = page.evaluate(SAMPLER_SEEN, SAMPLER)
    assert seen_as["pictures"] == 0, "the last live preview is gone"
    assert seen_as["shown"] == 1
    assert seen_as["film"] > 0.9 * seen_as["room"]
    page.locator(".personalive-bar button", has_text="driving").first.dispatch_event("click")
    page.wait_for_timeout(1000)
    assert films(page) == ["driving.mp4", "PersonaLive_00001_.mp4"]
    counts = page.evaluate(COUNTS)
    assert counts == [1], "one film counts once"
    assert len(list((server.base / "output" / "video").glob("*.mp4"))) == 1
    assert not seen.ours()
    assert not seen.foreign


def test_cancel_says_where_it_stopped_and_plays_what_is_there(page):
    page, seen, server = page
    workflow = small(read("long_video"))
    for node in workflow["nodes"]:
        if node["type"] == EXTRACT:
            node["widgets_values"][6] = 40
        if node["type"] == SAMPLER:
            node["widgets_values"][2:4] = [8, 4]  # slow steps, and a preview after each
    load_ui(page, workflow)
    bring(page, SAMPLER)
    page.evaluate(ENDED)
    page.get_by_role("button", name="Run", exact=True).first.click()
    page.get_by_text(re.compile(r"^frame (8|\d\d) / 40 .* left")).first.wait_for(timeout=240_000)
    assert films(page) == []
    page.evaluate("() => (window.app.api ?? window.comfyAPI.api.api).interrupt()")
    page.wait_for_function("() => window.ended.kind")
    page.get_by_text("stopped at frame").first.wait_for()
    link = page.locator(".personalive-line a").first
    name = link.inner_text()
    text = link.locator("xpath=..").inner_text()
    (stopped,) = re.findall(r"^stopped at frame (\d+): video/PersonaLive_\d+_.partial.mp4$", text)
    assert len(list(read_frames(server.base / "output" / name))) == int(stopped)
    page.wait_for_function(
        "() => [...document.querySelectorAll('.personalive-videos video')].some(v => v.readyState > 1)"
    )
    assert films(page) == [name.split("/")[-1]]
    assert page.evaluate(SAMPLER_SEEN, SAMPLER)["pictures"] == 0
    assert page.evaluate("async url => (await fetch(url)).status", link.get_attribute("href")) == 200
    assert not seen.ours()


@pytest.mark.usefixtures("yunet_model")
def test_a_click_on_a_face_of_the_driving_follows_it(page):
    page, seen, _ = page
    workflow = small(read("long_video"))
    for node in workflow["nodes"]:
        if node["type"] == "LoadVideo":
            node["widgets_values"][0] = "pair.mp4"
        if node["type"] == EXTRACT:
            node["widgets_values"][0] = "auto"
    load_ui(page, workflow)
    bring(page, EXTRACT)
    page.get_by_text("Click a face to follow it").first.wait_for()
    place = page.locator(".personalive-picker img[src^='data:']").first.bounding_box()
    page.mouse.click(place["x"] + place["width"] * 0.75, place["y"] + place["height"] * 0.5)  # the right-hand face
    page.wait_for_timeout(500)
    assert (widget(page, EXTRACT, "face"), widget(page, EXTRACT, "face_box")) == ("2nd from left", "")
    assert run_it(page)["kind"] == "execution_success"
    page.wait_for_timeout(1000)
    assert page.locator(".personalive-picker .face.chosen").count() == 1
    assert not seen.ours()


def test_the_route_answers_the_page_only(page):
    page, _, _ = page
    url = "/api/personalive/faces?filename=portrait.png&detector=none"
    statuses = page.evaluate(
        """async url => Promise.all([{}, {'X-PersonaLive': '1'}]
            .map(async headers => (await fetch(url, { headers })).status))""",
        url,
    )
    assert statuses == [403, 200]


def test_image_to_image_shows_no_empty_curve(page):
    page, _, _ = page
    load_ui(page, small(read("image_to_image")))
    bring(page, "StreamingSampler")
    assert run_it(page)["kind"] == "execution_success"
    page.get_by_text("frame 1 / 1").first.wait_for()
    assert not page.locator(".personalive-panel canvas").first.is_visible()


@pytest.mark.usefixtures("yunet_model")
def test_a_click_on_a_face_chooses_it(page):
    page, seen, _ = page
    load_ui(page, small(read("clip")))
    assert widget(page, PREPARE, "face_box") == ""
    place = picker(page)
    page.mouse.click(place["x"] + place["width"] * 0.75, place["y"] + place["height"] * 0.5)  # the right-hand face
    page.wait_for_timeout(500)
    left, top, right, bottom = (float(edge) for edge in widget(page, PREPARE, "face_box").split(","))
    assert 256 <= left < right <= 512
    assert 0 <= top < bottom <= 256
    page.get_by_role("button", name="automatic").first.click()
    assert widget(page, PREPARE, "face_box") == ""
    assert not seen.ours()


def test_a_drag_draws_a_box(page):
    page, _, _ = page
    load_ui(page, small(read("clip")))
    place = picker(page)
    corner = (place["x"] + 2, place["y"] + place["height"] * 0.25 + 2)
    page.mouse.move(*corner)
    page.mouse.down()
    page.mouse.move(place["x"] + place["width"] * 0.25, place["y"] + place["height"] * 0.5, steps=5)
    page.mouse.up()
    left, top, right, bottom = (float(edge) for edge in widget(page, PREPARE, "face_box").split(","))
    assert 0 <= left < 40
    assert 100 < right < 160
    assert top < bottom


def picker(page):
    """Where the picture of the face picker lies on the screen, once its faces are there."""
    bring(page, PREPARE)
    page.wait_for_timeout(1500)
    shown = page.locator(".personalive-picker canvas, .personalive-picker img, .personalive-picture").first
    return shown.bounding_box()


def test_errors_reach_the_page_with_the_remedy_first(page):
    page, _, _ = page
    workflow = small(read("long_video"))
    next(n for n in workflow["nodes"] if n["type"] == PREPARE)["widgets_values"][3] = "a, b"
    load_ui(page, workflow)
    ended = run_it(page)
    assert ended["kind"] == "execution_error"
    assert ended["error"].startswith("Write four numbers")
    page.keyboard.press("Escape")


MIME = {"mp4": "video/mp4", "mkv": "video/x-matroska", "webm": "video/webm", "mov": "video/quicktime"}
DROP = """async ([url, name, type]) => {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([await (await fetch(url)).blob()], name, { type }));
  const event = new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true, clientX: 700, clientY: 500 });
  window.app.canvas.canvas.dispatchEvent(event);
}"""


@pytest.mark.parametrize("name", MIME)
def test_a_dropped_film_opens_the_workflow_that_made_it(page, name):
    """The sampler's and Paste Back's, under names that the page fills."""
    page, seen, server = page
    load_ui(page, small(read("paste_back")))
    for kind, beginning in ((SAMPLER, "square"), (PASTE, "whole")):
        prefix = f"dropped/{name}_{beginning}_%date:yyyy%_%KeypointInterpolate.lead_in%"
        page.evaluate(SET, [kind, "filename_prefix", prefix])
    page.evaluate(SET, [SAMPLER, "format", name])
    posted, saved = without_newer(to_api(page)), to_ui(page)
    assert run_it(page)["kind"] == "execution_success"
    for beginning in ("square", "whole"):
        file = f"{name}_{beginning}_{time.strftime('%Y')}_12_00001_.{name}"
        assert (server.base / "output" / "dropped" / file).is_file()
        page.evaluate("() => window.app.graph.clear()")
        url = f"/view?filename={file}&subfolder=dropped&type=output"
        page.evaluate(DROP, [url, file, MIME[name]])
        page.wait_for_function("() => window.app.graph._nodes.some(n => n.type === 'PersonaLivePasteBack')")
        page.wait_for_timeout(700)
        assert without_newer(to_api(page)) == posted
        assert [node["type"] for node in to_ui(page)["nodes"]] == [node["type"] for node in saved["nodes"]]
        assert widget(page, SAMPLER, "filename_prefix").endswith("%KeypointInterpolate.lead_in%")
    assert not seen.ours()


def test_templates_and_help_are_served_to_the_page(page):
    page, _, _ = page
    templates = page.evaluate("async () => (await (await fetch('/api/workflow_templates')).json())")
    stems = sorted(path.stem for path in TEMPLATES.values())
    assert sorted(templates[PACK]) == stems
    shown = page.evaluate("async () => (window.app.api ?? window.comfyAPI.api.api).getWorkflowTemplates()")
    assert shown[PACK] == stems, "in the order of use"
    for name in stems:
        kind = page.evaluate("async u => (await fetch(u)).headers.get('content-type')", template(name))
        assert kind == "image/jpeg"
    help_page = page.evaluate("async u => (await fetch(u)).text()", f"/extensions/{PACK}/docs/KeyframeBank.md")
    assert help_page.startswith("#")


def template(name):
    return f"/api/workflow_templates/{PACK}/{name}.jpg"


def test_a_click_in_the_template_browser_opens_ours(page):
    page, _, _ = page
    load_ui(page, read("clip"))
    page.get_by_role("button", name="Templates").first.click()
    page.wait_for_timeout(2000)
    page.locator("[role=dialog]").get_by_text(PACK).first.click()
    page.wait_for_timeout(1000)
    page.get_by_text("04 paste back").first.click()
    page.wait_for_function("() => window.app.graph._nodes.some(n => n.type === 'PersonaLivePasteBack')")
    page.keyboard.press("Escape")


def test_the_blueprint_is_one_node_that_runs(page):
    """Chosen in the node search, as newer ComfyUI offers it."""
    page, seen, server = page
    if not (Path(os.environ["COMFYUI_DIR"]) / "app" / "subgraph_manager.py").is_file():
        pytest.skip("this ComfyUI has no blueprints: run it with 0.30 or newer")
    load_api(page, {key: node for key, node in shipped("long_video").items() if key in ("2", "3")})
    page.evaluate("() => { const ds = window.app.canvas.ds; ds.scale = 1; ds.offset = [0, 0]; }")
    page.mouse.dblclick(1000, 800)
    page.wait_for_timeout(1000)
    page.keyboard.type(BLUEPRINT)
    page.wait_for_timeout(2000)
    page.keyboard.press("Enter")
    page.wait_for_timeout(1500)
    page.mouse.click(1000, 800)  # newer pages put it down where one clicks
    assert page.evaluate(CONNECT, [BLUEPRINT, SMALL]) == ["image", "driving"]
    ended = run_it(page)
    assert ended["kind"] == "execution_success", ended
    assert [len(list(read_frames(film))) for film in (server.base / "output" / "blueprint").glob("*.mp4")] == [COUNT]
    assert not seen.ours()


def test_panels_in_a_subgraph_end_with_their_graph(page):
    """The front ends do not tell a subgraph's nodes that the graph is cleared, as undo, a tab and a new workflow do."""
    page, _, _ = page
    page.evaluate(LOOKING)
    load_ui(page, small(read("clip")))
    page.evaluate(
        """type => {
      const graph = window.app.graph;
      graph.convertToSubgraph(new Set([graph._nodes.find(n => n.type === type)]));
    }""",
        PREPARE,
    )
    saved = to_ui(page)
    for _ in range(3):
        load_ui(page, saved)
    page.wait_for_timeout(2000)
    assert page.evaluate("() => window.looking.size") == 2  # of both pickers on the canvas
    at_once = """async w => {
      await window.app.loadGraphData(w, true, true, null);
      await new Promise(done => setTimeout(done, 0));
      return window.looking.size;
    }"""
    assert [page.evaluate(at_once, saved) for _ in range(3)] == [2, 2, 2]  # before the new nodes take up a session
    load_ui(page, read("motion_blend") | {"nodes": [], "links": []})
    page.wait_for_timeout(2000)
    assert page.evaluate("() => window.looking.size") == 0


def test_help_shows_our_page(page):
    page, _, _ = page
    load_ui(page, read("clip"))
    bring(page, "KeyframeBank")
    page.evaluate("""() => {
      const node = window.app.graph._nodes.find(n => n.type === 'KeyframeBank'), canvas = window.app.canvas;
      if (canvas.selectNode) canvas.selectNode(node); else canvas.select(node);
    }""")
    page.get_by_test_id("info-button").first.click()
    page.get_by_text("Sets how the sampler chooses keyframes", exact=False).first.wait_for()


def bring(page, kind):
    """The node at the same place of the window, at full size."""
    page.evaluate(
        """kind => {
          const node = window.app.graph._nodes.find(n => n.type === kind), ds = window.app.canvas.ds;
          ds.scale = 1;
          ds.offset = [500 - node.pos[0], 220 - node.pos[1]];
          window.app.canvas.setDirty(true, true);
        }""",
        kind,
    )
    page.wait_for_timeout(1000)
