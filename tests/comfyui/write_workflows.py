"""Writes workflows/*.json and their thumbnails from workflows/api/*.json, in a real page; run it when those change.

COMFYUI_DIR=... PERSONALIVE_BROWSER=... python -m tests.comfyui.write_workflows [name ...]

Each workflow runs once with the small model, which takes minutes, those of LivePortrait with stand-in ones: its nodes
grow while they show what they made. The nodes are laid out with room for that; the results are the thumbnail.
"""

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageOps

from personalive_core.backends.hunyuan.files import LICENCE_TERMS
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER
from personalive_core.media.video import read_frames
from tests.backends.hunyuan.published import load_cases, write_hunyuan
from tests.comfyui.drawn_cat import draw_cat
from tests.comfyui.live_weights import parity_modules, write_live_standin
from tests.comfyui.page import load_api, open_page, to_api, to_ui
from tests.comfyui.server import ROOT, ComfyUI

WORKFLOWS, ASSETS = ROOT / "workflows", ROOT / "nodes" / "assets"
SMALL = "small (drawn people, built in)"
PART = {"start": 0.8, "count": 12}  # of the driving, in a run for layout and thumbnail
MOMENT, SHOWN = 10, 30  # the frame in the thumbnail: of the result, and of the driving
THUMBNAIL, INSET = 640, 192  # pixels a side, of the result and of what it was made from
VIEW = (1400, 820)  # pixels of the canvas that a fresh workflow fits into

PUBLISHED = (
    "**Download**: the first run fetches about 12 GB into `models/personalive`, with a bar, and Cancel at any time.\n\n"
    "**Licence**: non-commercial. The weights began from X-NeMo's (CC BY-NC 4.0).\n\n"
    "**Without them**: choose `small` in *Load PersonaLive*. It paints drawn people at 128 pixels, at once."
)
BUILT_IN = (
    "**Download**: none. The small model comes with the pack.\n\n"
    "**Licence**: Apache-2.0, model and media.\n\n"
    "The small model knows drawn people at 128 pixels alone. For photographs choose `personalive` in "
    "*Load PersonaLive*: about 12 GB, non-commercial (CC BY-NC 4.0)."
)
LIVEPORTRAIT = (
    "**Download**: the first run fetches about 0.5 GB into `models/liveportrait`; other packs' files are used.\n\n"
    "**Licence**: MIT, the weights too."
)
ANIMALS = (
    "**Download**: the first run fetches about 0.5 GB of animals' networks into `models/liveportrait`.\n\n"
    "**Licence**: MIT, the weights too. The published detector of animals is for non-commercial use, and not needed."
)
HUNYUAN = (
    "**Download**: none. You put the files, about 7.5 GB, into `models/hunyuanportrait`; *Load HunyuanPortrait* says "
    "which are missing, and its help page where they are.\n\n"
    f"**Licence**: {LICENCE_TERMS}."
)
# Nodes of LivePortrait that look for a face, which the sample media do without.
LIVE_FACES = {
    "PersonaLiveExpressionEditor",
    "PersonaLivePrepareSource",
    "PersonaLivePrepareSourceVideo",
    "PersonaLiveExtractImplicitMotion",
}
# in the order of use, by which the page lists them
NOTES = {
    "try_it": "## A first film\n"
    "1. Press **Run**.\n"
    "2. Wait a minute: the film plays below *Streaming Sampler*, and is in ComfyUI's `output/video`.\n"
    f"3. Choose another picture in *Reference*, or another film in *Driving*, and run again.\n\n{BUILT_IN}",
    "long_video": "## A portrait moves like a film, at any length\n"
    "1. Choose the person in *Reference* and the film in *Driving*. Several people? Click the face in "
    "*Prepare Reference*.\n"
    "2. Press **Run**. Cancel keeps what is there.\n"
    "3. The film, with the driving's sound, plays below *Streaming Sampler* and is in `output/video`.\n\n"
    f"{PUBLISHED}",
    "image_to_image": "## The pose and expression of one other picture\n"
    "1. Choose the person in *Reference* and the pose in *Driving picture*.\n"
    "2. Press **Run**.\n"
    "3. The picture is in *Save Image* and in `output`.\n\n"
    f"{PUBLISHED}",
    "paste_back": "## Only the face moves, in the full picture\n"
    "1. Choose a picture of any shape in *Reference*, the film in *Driving*. Several people? Run once, then click the "
    "face in *Prepare Reference*.\n"
    "2. Press **Run**.\n"
    "3. *Paste Back* plays the full picture; the film is in `output/video`.\n\n"
    f"{PUBLISHED}",
    "clip": "## Up to 100 frames as images, for other nodes\n"
    "1. Choose the person in *Reference* and the film in *Driving*; `count` in *Extract Hybrid Motion* sets how many "
    "frames.\n"
    "2. Press **Run**.\n"
    "3. Take `frames` to nodes that change them; *Save Video* writes the film to `output/video`. For long films use "
    "*02 long video*.\n\n"
    f"{PUBLISHED}",
    "motion_blend": "## The head of one film, the face of another\n"
    "1. Choose the two films in *Driving: head* and *Driving: expression*, the person in *Reference*.\n"
    "2. Press **Run**.\n"
    "3. The film plays below *Streaming Sampler*. *Save Motion* keeps the motion as a small file without pictures, for "
    "*07 motion reuse*.\n\n"
    f"{PUBLISHED}",
    "motion_reuse": "## A saved motion drives a portrait\n"
    "1. Choose the person in *Reference* and the file in *Load Motion*; its motion must be read by the same weights.\n"
    "2. Press **Run**.\n"
    "3. The film plays below *Streaming Sampler* and is in `output/video`.\n\n"
    f"{BUILT_IN}",
    "live": "## A camera drives the portrait, while it happens\n"
    "1. Choose the person in *Reference* and press **Run**: it returns at once.\n"
    "2. On the panel of *Live Session* choose the camera and press **Start**.\n"
    "3. Drop another portrait on the panel, move the strengths, record. Close the page to end it.\n\n"
    "What delay to expect, and OBS: the help page of *Live Session*, by **(i)**.\n\n"
    f"{BUILT_IN}",
    "liveportrait_edit": "## The expression of a picture, by sliders\n"
    "1. Choose the picture in *Reference* and press **Run**.\n"
    "2. Move the sliders of *Expression Editor*: its picture follows. **Before**, held, shows it as it was.\n"
    "3. Press **Run** again: the picture is in `output`, its expression in `output/expressions`, for *Load Expression* "
    "in other workflows.\n\n"
    f"{LIVEPORTRAIT}",
    "liveportrait_video": "## A picture moves like a film, with LivePortrait\n"
    "1. Choose the picture in *Reference* and the film in *Driving*. Several people? Click the face in *Prepare "
    "Source*.\n"
    "2. Press **Run**.\n"
    "3. The film plays below *LivePortrait Render* and is in `output/video`. *Retarget* changes what moves, and how "
    "much.\n\n"
    f"{LIVEPORTRAIT}",
    "liveportrait_source_video": "## A film's face moves like another film\n"
    "1. Choose the film to change in *Source*, and in *Driving* the film whose motion it gets. Several people? Click "
    "the face in *Prepare Source Video*.\n"
    "2. Press **Run**. Cancel keeps what is there.\n"
    "3. The film plays below *LivePortrait Render* and is in `output/video`. For new lips alone set `region` in "
    "*Retarget* to lip.\n\n"
    "The sample film stands for both here. A picture in *Driving* gives the whole film its expression.\n\n"
    f"{LIVEPORTRAIT}",
    "liveportrait_animal": "## An animal moves like a person\n"
    "1. Choose the animal's picture in *Animal*. In *Prepare Source* press **automatic**, and click the nine points "
    "that it asks for.\n"
    "2. Choose the film of a person in *Driving*, and press **Run**.\n"
    "3. The film plays below *LivePortrait Render* and is in `output/video`.\n\n"
    "As published, stitching and paste_back are off, and `multiplier` is 1.75. The cat is drawn.\n\n"
    f"{ANIMALS}",
    "hunyuan_video": "## A picture moves like a film, with HunyuanPortrait: for research only\n"
    "1. Read the licence below, and turn on `accept_licence` in *Load HunyuanPortrait*.\n"
    "2. Choose the picture in *Reference* and the film in *Driving*, and press **Run**. It is slow. Cancel keeps the "
    "segments that are there.\n"
    "3. The film plays below *HunyuanPortrait Sample* and is in `output/video`. `count` sets how many frames are made; "
    "0: all.\n\n"
    f"{HUNYUAN}",
}

SIZES = """() => Object.fromEntries(window.app.graph._nodes.map(n => [n.id, [...n.size]]))"""
ENDED = """() => new Promise(done => {
  const api = window.app.api ?? window.comfyAPI.api.api;
  for (const kind of ['execution_success', 'execution_error', 'execution_interrupted'])
    api.addEventListener(kind, e => done([kind, e.detail?.exception_message ?? '']), { once: true });
  window.app.queuePrompt(0, 1);
})"""
# Columns from left to right by what a node needs; a source stands just before its first taker. `rooms` are the sizes
# that nodes grow to. A wire that passes a column gets a lane above the nodes of that column.
ARRANGE = """async ([note, rooms, view]) => {
  const GAP = 90, BELOW = 60, LANE = 46, NOTE = [400, 560];
  const LEAST = { LoadVideo: [378, 480] };  // its film comes late
  const graph = window.app.graph, nodes = graph._nodes.slice(), column = new Map(), takers = new Map();
  const source = input => input.link == null ? null
      : graph.getNodeById((graph.links.get?.(input.link) ?? graph.links[input.link]).origin_id);
  const before = node => (node.inputs ?? []).map(source).filter(Boolean);
  for (const node of nodes) for (const from of before(node)) takers.set(from, [...takers.get(from) ?? [], node]);
  const place = node => {
    if (!column.has(node)) column.set(node, Math.max(-1, ...before(node).map(place)) + 1);
    return column.get(node);
  };
  nodes.forEach(place);
  for (const node of nodes)
    if (!before(node).length) column.set(node, Math.max(0, Math.min(...takers.get(node).map(place)) - 1));
  nodes.flatMap(n => n.widgets ?? []).filter(w => w.name === 'control_after_generate').forEach(w => w.value = 'fixed');
  const reach = node => Math.max(0, ...(takers.get(node) ?? []).map(other => column.get(other) - column.get(node)));
  const last = Math.max(...column.values());
  let x = NOTE[0] + GAP;
  for (let c = 0; c <= last; c++) {
    const here = nodes.filter(n => column.get(n) === c).sort((a, b) => reach(b) - reach(a)
        || before(b).length - before(a).length || a.id - b.id);
    const passing = nodes.filter(n => column.get(n) < c && column.get(n) + reach(n) > c).length;
    let y = passing * LANE, width = 0;
    for (const node of here) {
      const room = LEAST[node.type] ?? rooms[node.id] ?? [0, 0], wanted = node.computeSize();
      node.setSize([Math.max(wanted[0], 300, room[0]), Math.max(node.size[1], wanted[1])]);
      node.pos = [x, y];
      y += Math.max(node.size[1], room[1]) + BELOW;
      width = Math.max(width, node.size[0]);
    }
    x += width + GAP;
  }
  const text = LiteGraph.createNode('MarkdownNote');
  text.title = 'Read me';
  graph.add(text);
  text.pos = [0, 0];
  text.setSize(NOTE);
  text.widgets[0].value = note;
  await new Promise(r => setTimeout(r, 500));
  const right = x - GAP, bottom = Math.max(...graph._nodes.map(n => n.pos[1] + n.size[1]));
  const ds = window.app.canvas.ds;
  ds.scale = Math.min(view[0] / right, view[1] / (bottom + 60), 1);
  ds.scale = Math.max(ds.scale, 0.62);  // the page writes no text on smaller nodes
  ds.offset = [40 / ds.scale, 90 / ds.scale];
}"""


def quick(workflow):
    """An API-format workflow on the small model, short."""
    films = {key for key, node in workflow.items() if node["class_type"] == "LoadVideo"}
    for node in workflow.values():
        if node["class_type"] == "LoadPersonaLive":
            node["inputs"] |= {"weights": SMALL, "attention": "pytorch"}
        if node["class_type"] == "PersonaLiveLoadLivePortrait":
            node["inputs"] |= {"download_if_missing": False}
        if node["class_type"] == "PersonaLiveLoadHunyuanPortrait":
            node["inputs"] |= {"accept_licence": True}
        if node["class_type"] == "PersonaLiveHunyuanVideo":
            node["inputs"] |= {"steps": 2, "size": 64}
        if node["class_type"] in LIVE_FACES:
            node["inputs"] |= {"detector": "none"}
        film = node["inputs"].get("driving") or node["inputs"].get("video") or [""]
        moving = film[0] in films or node["class_type"] == "PersonaLiveLoadMotion"
        if moving:
            node["inputs"] |= PART
    return workflow


def results(server, name):
    """The pictures of what the last run of a workflow made: a film's frame, four frames of a clip, a picture."""
    made = max((server.base / "output").rglob("*.*"), key=lambda path: path.stat().st_mtime)
    frames = [frame.image for frame in read_frames(made)]
    if name == "clip":
        side = THUMBNAIL // 2
        whole = Image.new("RGB", (THUMBNAIL, THUMBNAIL))
        for n, frame in enumerate(frames[2::3][:4]):
            whole.paste(Image.fromarray(frame).resize((side, side)), (n % 2 * side, n // 2 * side))
        return whole
    return Image.fromarray(frames[min(MOMENT, len(frames) - 1)])


def show_live(page):
    """Runs the session of the page for a while; its result is stored as a snapshot."""
    panel = page.locator(".personalive-live")
    panel.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_timeout(20_000)
    panel.get_by_role("button", name="Snapshot", exact=True).click()
    page.wait_for_timeout(2000)
    panel.get_by_role("button", name="End", exact=True).click()


def camera_clip(folder):
    """The bundled film as a file for Chromium's fake camera."""
    path = folder / "camera.mjpeg"
    with path.open("wb") as clip:
        for frame in read_frames(ASSETS / "personalive_film.mp4"):
            Image.fromarray(frame.image).save(clip, "JPEG", quality=92)
    return path


def illustration(name):
    """What the stand-in weights of other systems cannot show: a drawn face, and in the corner what it was made from."""
    face = FaceMotion(yaw=12, smile=0.9, gaze=(0.6, 0.0))
    if name == "liveportrait_animal":
        before, after = Image.fromarray(draw_portrait(DRIVER, face, THUMBNAIL)), draw_cat(THUMBNAIL).convert("RGB")
    else:
        person = DRIVER if name == "liveportrait_source_video" else SITTER
        before, after = (Image.fromarray(draw_portrait(person, one, THUMBNAIL)) for one in (FaceMotion(), face))
    after.paste(ImageOps.expand(before.resize((INSET, INSET)), 4, "white"), (8, THUMBNAIL - INSET - 16))
    return after


def thumbnail(server, name):
    """The result, with the portrait and the driving in its corners; a clip's frames fill the picture."""
    if name.startswith(("liveportrait", "hunyuan")):
        return illustration(name)
    whole = results(server, name).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    if name == "clip":
        return whole
    driving = ASSETS / "personalive_expression.png"
    if name != "image_to_image":
        frames = [frame.image for frame in read_frames(ASSETS / "personalive_film.mp4")]
        driving = Image.fromarray(frames[SHOWN])
    else:
        driving = Image.open(driving).convert("RGB")
    for n, picture in enumerate((Image.open(ASSETS / "personalive_portrait.png").convert("RGB"), driving)):
        small = ImageOps.expand(picture.resize((INSET, INSET), Image.Resampling.LANCZOS), 4, "white")
        whole.paste(small, (8 if n == 0 else THUMBNAIL - INSET - 16, THUMBNAIL - INSET - 16))
    return whole


def write(page, server, number, name):
    """One workflow's JSON and thumbnail."""
    workflow = json.loads((WORKFLOWS / "api" / f"{name}.json").read_text(encoding="utf-8"))
    load_api(page, quick(json.loads(json.dumps(workflow))))
    page.wait_for_timeout(2500)  # pictures make their nodes taller
    page.set_default_timeout(600_000)
    kind, message = page.evaluate(ENDED)
    assert kind == "execution_success", f"{name}: {message}"
    page.wait_for_timeout(4000)  # so does what was made
    if name == "live":
        show_live(page)
    rooms = page.evaluate(SIZES)
    load_api(page, workflow)
    page.wait_for_timeout(2500)
    page.evaluate(ARRANGE, [NOTES[name], rooms, VIEW])
    assert {key: node["inputs"] for key, node in to_api(page).items()}.keys() == workflow.keys()
    path = WORKFLOWS / f"{number:02} {name.replace('_', ' ')}.json"
    path.write_text(json.dumps(to_ui(page), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    thumbnail(server, name).convert("RGB").save(path.with_suffix(".jpg"), quality=85)


def main():
    """One page, one workflow after the other; all, or those named."""
    wanted = sys.argv[1:] or list(NOTES)
    with tempfile.TemporaryDirectory() as temporary:
        comfyui = ComfyUI(Path(temporary))
        for base in ("", "animal"):
            write_live_standin(comfyui.base / "models" / "liveportrait", base)
        if "hunyuan_video" in wanted:  # it finds faces: PERSONALIVE_YUNET is the detector's file
            write_hunyuan(comfyui.base / "models" / "hunyuanportrait", load_cases(parity_modules()[0]))
            shutil.copy(os.environ["PERSONALIVE_YUNET"], comfyui.base / "models" / "personalive")
        write_all(comfyui, Path(temporary), wanted)


def write_all(comfyui, temporary, wanted):
    """The wanted ones, in a page of one server."""
    with (
        comfyui as server,
        open_page(server.url, {"Comfy.Minimap.Visible": False}, camera=camera_clip(temporary)) as (page, _),
    ):
        page.set_viewport_size({"width": 1600, "height": 1000})
        for number, name in enumerate(NOTES, 1):
            if name in wanted:
                write(page, server, number, name)


if __name__ == "__main__":
    main()
