"""Writes workflows/*.json and their thumbnails from workflows/api/*.json, in a real page; run it when those change.

COMFYUI_DIR=... PERSONALIVE_BROWSER=... python -m tests.comfyui.write_workflows
"""

import io
import json
import tempfile
from pathlib import Path

from PIL import Image

from personalive_core.bench.standin import write_standin
from personalive_core.drawn.sample import write_sample
from tests.comfyui.page import load_api, open_page, to_ui
from tests.comfyui.server import ROOT, ComfyUI

WORKFLOWS = ROOT / "workflows"
COLUMN, GAP, TOP = 80, 40, 220  # pixels between columns and nodes; of the note above them
NOTE = (700, 150)

NOTES = {
    "image_to_image": "## Image to image\nThe reference takes over head pose and expression of one other picture.\n\n"
    "1. **Load Image** (Reference): the person. 2. **Load Image** (Driving picture): the pose. 3. Run.",
    "clip": "## Clip\nUp to 100 frames as images, to work on with other nodes, then a video.\n\n"
    "For more frames raise `count` in Extract Hybrid Motion; for long films use the workflow *long_video*.",
    "long_video": "## Long video with sound\nAny length: the video is written while it is made, with the driving's "
    "sound; memory does not grow. Cancel keeps what is there.",
    "paste_back": "## Paste back\nOnly the face's square is animated, then put back into the full picture.\n\n"
    "Several people? Run once, then click the right face in **Prepare Reference**.",
    "motion_blend": "## Blend and save motion\nThe head moves as in one driving, the face as in another. "
    "**Save Motion** keeps the result as a small file without pictures, for the workflow *motion_reuse*.",
    "motion_reuse": "## Use saved motion\nA motion file drives a portrait; no video is needed. Run *motion_blend* "
    "once, or put a motion file into ComfyUI's input folder, and choose it in **Load Motion**.",
    "batch": "## Batch\nMade for `personalive submit`, which runs it for every pair of a folder of references "
    "and a folder of drivings, on one or several ComfyUI servers (see the README).",
}

ARRANGE = """async ([note, size, column, gap, top]) => {
  const graph = window.app.graph, nodes = graph._nodes.slice(), depth = new Map();
  const source = input => input.link == null ? null
      : graph.getNodeById((graph.links.get?.(input.link) ?? graph.links[input.link]).origin_id);
  const measure = node => {
    if (!depth.has(node)) {
      const before = (node.inputs ?? []).map(source).filter(Boolean).map(measure);
      depth.set(node, before.length ? 1 + Math.max(...before) : 0);
    }
    return depth.get(node);
  };
  nodes.forEach(measure);
  const widgets = nodes.flatMap(node => node.widgets ?? []);
  widgets.filter(w => w.name === 'control_after_generate').forEach(w => { w.value = 'fixed'; });
  let x = 0;
  for (let d = 0; d <= Math.max(...depth.values()); d++) {
    let y = top, width = 0;
    for (const node of nodes.filter(n => depth.get(n) === d)) {
      const wanted = node.computeSize();
      node.setSize([Math.max(node.size[0], wanted[0], 270), Math.max(node.size[1], wanted[1])]);
      node.pos = [x, y];
      y += node.size[1] + gap + 30;
      width = Math.max(width, node.size[0]);
    }
    x += width + column;
  }
  const text = LiteGraph.createNode('MarkdownNote');
  text.title = 'Read me';
  graph.add(text);
  text.pos = [0, 0];
  text.setSize(size);
  text.widgets[0].value = note;
  await new Promise(r => setTimeout(r, 300));
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const n of graph._nodes) {
    box[0] = Math.min(box[0], n.pos[0]); box[1] = Math.min(box[1], n.pos[1] - 30);
    box[2] = Math.max(box[2], n.pos[0] + n.size[0]); box[3] = Math.max(box[3], n.pos[1] + n.size[1]);
  }
  const ds = window.app.canvas.ds, s = Math.min(2900 / (box[2] - box[0]), 1600 / (box[3] - box[1]), 1);
  ds.scale = s;
  ds.offset = [-box[0] + 100 / s, -box[1] + 100 / s];
  window.app.canvas.setDirty(true, true);
  await new Promise(r => setTimeout(r, 1200));
  const frame = window.app.canvas.canvas.getBoundingClientRect();
  return [frame.left + 100, frame.top + 100, (box[2] - box[0]) * s, (box[3] - box[1]) * s];
}"""


def main():
    """One page, one workflow after the other."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "media").mkdir()
        write_sample(folder / "media", seconds=0.4, size=256)
        for name in ("portrait.png", "expression.png"):
            (folder / "media" / name).write_bytes((folder / "media" / "reference.png").read_bytes())
        weights = write_standin(folder / "weights")
        with (
            ComfyUI(folder, weights, sorted((folder / "media").iterdir())) as server,
            open_page(server.url, {"Comfy.Minimap.Visible": False}) as (page, _),
        ):
            page.set_viewport_size({"width": 3200, "height": 1900})
            for file in sorted((WORKFLOWS / "api").glob("*.json")):
                load_api(page, json.loads(file.read_text(encoding="utf-8")))
                page.wait_for_timeout(2500)  # pictures make their nodes taller
                left, top, width, height = page.evaluate(ARRANGE, [NOTES[file.stem], NOTE, COLUMN, GAP, TOP])
                text = json.dumps(to_ui(page), indent=1, ensure_ascii=False)
                (WORKFLOWS / file.name).write_text(text + "\n", encoding="utf-8")
                clip = {"x": left - 20, "y": max(top - 20, 0), "width": width + 40, "height": height + 40}
                shot = Image.open(io.BytesIO(page.screenshot(clip=clip))).convert("RGB")
                shot.thumbnail((1280, 800))
                shot.save(WORKFLOWS / f"{file.stem}.jpg", quality=85)


if __name__ == "__main__":
    main()
