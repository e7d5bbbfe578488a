"""The nodes' ids of before, for which other packs' nodes could be taken: what was saved with them still runs."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from importlib import import_module
from typing import Any

from comfy_api.v0_0_2 import ComfyAPI, io
from server import PromptServer

# web/js/renames.js has the same list, for workflows that are opened on the page
RENAMED: Mapping[str, str] = {
    old: f"PersonaLive{old}"
    for old in (
        "PrepareReference",
        "StreamingSamplerVideo",
        "PasteBack",
        "SaveMotion",
        "LoadMotion",
        "BlendMotion",
        "MotionPlot",
    )
}


def with_new_ids(request: dict[str, Any], others: Container[str]) -> dict[str, Any]:
    """The body of a POST to /prompt with today's ids. An old id in `others` is another pack's node, and stays."""
    prompt = request.get("prompt")
    if not isinstance(prompt, dict):
        return request
    return {**request, "prompt": {key: with_new_id(node, others) for key, node in prompt.items()}}


def with_new_id(node: Any, others: Container[str]) -> Any:
    """One node of a prompt, as `with_new_ids` changes it; what is no node is left to ComfyUI to refuse."""
    kind = node.get("class_type") if isinstance(node, dict) else None
    if not isinstance(kind, str) or kind not in RENAMED or kind in others:
        return node
    return {**node, "class_type": RENAMED[kind]}


def accept_old_ids() -> None:
    """Lets ComfyUI run API-format workflows with the old ids.

    ComfyUI's own replacement, where it has one, fails on a node without `_meta` or without an optional input.
    """
    server = getattr(PromptServer, "instance", None)
    if server is None:  # ComfyUI's modules are loaded without its server, as in a test
        return
    installed = import_module("nodes").NODE_CLASS_MAPPINGS  # ComfyUI's module; it grows as packs are loaded
    server.add_on_prompt_handler(lambda request: with_new_ids(request, installed))


async def tell_replacements(nodes: Sequence[type[io.ComfyNode]]) -> None:
    """Tells a ComfyUI that keeps a list of replaced nodes, 0.30 for one, of the old ids: its page offers to replace."""
    if not hasattr(io, "NodeReplace"):
        return
    inputs = {node.GET_SCHEMA().node_id: [part.id for part in node.GET_SCHEMA().inputs] for node in nodes}
    for old, new in RENAMED.items():
        same = [{"new_id": name, "old_id": name} for name in inputs[new]]
        await ComfyAPI().node_replacement.register(io.NodeReplace(new, old, input_mapping=same))
