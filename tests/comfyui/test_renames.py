"""Workflows of before the nodes got the pack's prefix, in a real ComfyUI; and the words its search is given."""

import json
import re

import pytest

from tests.comfyui.server import PACK
from tests.comfyui.test_nodes import made, small

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(600)]

IDS = (
    "PrepareReference",
    "StreamingSamplerVideo",
    "PasteBack",
    "SaveMotion",
    "LoadMotion",
    "BlendMotion",
    "MotionPlot",
)
SOCKETS = {
    "PERSONALIVE_REFERENCE": "REFERENCE",
    "PERSONALIVE_MOTION": "HYBRID_MOTION",
    "PERSONALIVE_KEYFRAME_BANK": "KEYFRAME_BANK",
}


def as_before(workflow):
    """A workflow of either format as it was saved with the old ids and socket types."""
    text = re.sub(rf'"PersonaLive({"|".join(IDS)})"', r'"\1"', json.dumps(workflow))
    for new, old in SOCKETS.items():
        text = text.replace(f'"{new}"', f'"{old}"')
    return json.loads(text)


@pytest.mark.parametrize("name", ["paste_back", "motion_blend"])
def test_a_prompt_of_before_runs(comfyui, name):
    """Without titles, and without the inputs that are optional, as programs send them."""
    prompt = as_before(small(name, count=4))
    assert prompt != small(name, count=4)
    run = comfyui.run({key: {k: v for k, v in node.items() if k != "_meta"} for key, node in prompt.items()})
    assert not run.error
    assert made(comfyui, run)


def test_a_comfyui_that_has_search_words_and_replacements_is_given_them(comfyui):
    entries = comfyui.get("/object_info").values()
    ours = [entry for entry in entries if entry.get("python_module") == f"custom_nodes.{PACK}"]
    if "search_aliases" not in ours[0]:
        pytest.skip("this ComfyUI knows neither: run it with 0.30 or newer")
    assert all("live portrait" in entry["search_aliases"] for entry in ours)
    replaced = comfyui.get("/node_replacements")
    assert {old: [entry["new_node_id"] for entry in replaced[old]] for old in IDS} == {
        old: [f"PersonaLive{old}"] for old in IDS
    }
