"""Writes subgraphs/*.json, the blueprint that newer ComfyUI offers as one node, from a workflow, in a real page.

COMFYUI_DIR=... PERSONALIVE_BROWSER=... python -m tests.comfyui.write_subgraph
"""

import json
import tempfile
import uuid
from pathlib import Path

from personalive_core.drawn.sample import write_sample
from tests.comfyui.page import load_api, open_page
from tests.comfyui.server import ROOT, ComfyUI

NAME, SOURCE = "Animate a portrait", "long_video"
ABOUT = "A person in a picture moves as another does in a film; writes a video with the film's sound (PersonaLive)."
OUTSIDE = ("LoadImage", "LoadVideo", "SaveVideo")  # what the user connects
SAMPLER = "PersonaLiveStreamingSamplerVideo"
WIDGET = ("LoadPersonaLive", "weights")  # shown on the outside, beside the seed, which the page itself shows there

# The nodes inside one that stands alone, as the page publishes it.
PACK_UP = """async ([name, outside, sampler, [loader, widget]]) => {
  const graph = window.app.graph;
  const widgets = graph._nodes.flatMap(node => node.widgets ?? []);
  widgets.filter(w => w.name === 'control_after_generate').forEach(w => { w.value = 'fixed'; });
  const save = LiteGraph.createNode('SaveVideo');
  graph.add(save);
  graph._nodes.find(node => node.type === sampler).connect(0, save, 0);
  const inside = graph._nodes.filter(node => !outside.includes(node.type));
  const { subgraph, node } = graph.convertToSubgraph(new Set(inside));
  subgraph.name = node.title = name;
  graph._nodes.filter(other => other !== node).forEach(other => graph.remove(other));
  const owner = subgraph.nodes.find(node => node.type === loader);
  const slot = owner.inputs.find(input => input.widget?.name === widget);
  subgraph.addInput(widget, slot.type).connect(slot, owner);
  node.pos = [0, 0];
  await new Promise(r => setTimeout(r, 500));
  return JSON.parse(JSON.stringify(graph.serialize()));
}"""


def blueprint(packed):
    """The file's content from what the page serialised, the same for the same workflow."""
    (subgraph,), (node,) = packed["definitions"]["subgraphs"], packed["nodes"]
    text = json.dumps({"node": node, "subgraph": subgraph})
    ids = {subgraph["id"]: NAME} | {slot["id"]: slot["name"] for slot in subgraph["inputs"] + subgraph["outputs"]}
    for known, words in ids.items():
        text = text.replace(known, str(uuid.uuid5(uuid.NAMESPACE_URL, f"personalive/{NAME}/{words}")))
    parts = json.loads(text)
    about = {"category": "PersonaLive", "essentials_category": "Video Tools", "description": ABOUT}
    return {
        "revision": 0,
        "last_node_id": node["id"],
        "last_link_id": 0,
        "nodes": [parts["node"]],
        "links": [],
        "version": 0.4,
        "definitions": {"subgraphs": [parts["subgraph"] | about]},
        "extra": {},
    }


def main():
    """One page."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_sample(folder / "media", seconds=0.4, size=256)
        (folder / "media" / "reference.png").rename(folder / "media" / "portrait.png")
        with ComfyUI(folder, inputs=sorted((folder / "media").iterdir())) as server, open_page(server.url) as (page, _):
            load_api(page, json.loads((ROOT / "workflows" / "api" / f"{SOURCE}.json").read_text(encoding="utf-8")))
            page.wait_for_timeout(1500)
            content = blueprint(page.evaluate(PACK_UP, [NAME, OUTSIDE, SAMPLER, WIDGET]))
    text = json.dumps(content, indent=1, ensure_ascii=False)
    (ROOT / "subgraphs").mkdir(exist_ok=True)
    (ROOT / "subgraphs" / f"{NAME}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
