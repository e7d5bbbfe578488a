"""What all nodes' schemas have in common: the category, and what newer ComfyUI shows and finds them by."""

from __future__ import annotations

from copy import copy
from dataclasses import fields
from typing import Any

from comfy_api.v0_0_2 import io

CATEGORY = "PersonaLive"
SEARCH_WORDS = ("PersonaLive", "live portrait", "LivePortrait", "talking head", "face animation", "talking face")
# Seldom changed widgets, whatever their node: newer ComfyUI keeps them behind "Show advanced inputs".
ADVANCED = {"attention", "codes", "detector", "lead_in", "lossless", "preview_every", "warm_up"}
# Arguments of io.Schema that older ComfyUI, such as 0.3.64, does not take. No node has an essentials_category: the page
# would no longer list it among those of extensions.
NEWER = {"search_aliases", "has_intermediate_output"}


def schema(inputs: Any = (), **parts: Any) -> io.Schema:
    """A node's schema from the arguments of io.Schema, with what all nodes share.

    What an older ComfyUI does not know is left out: its search looks at a node's id and names alone, and it shows every
    widget.
    """
    parts |= {"search_aliases": list(SEARCH_WORDS)}
    unknown = NEWER - {field.name for field in fields(io.Schema)}
    known = {name: value for name, value in parts.items() if name not in unknown}
    return io.Schema(category=CATEGORY, inputs=[with_advanced(part) for part in inputs], **known)


def with_advanced(part: Any) -> Any:
    """An input, marked as advanced if it is one and ComfyUI has such a mark."""
    if part.id not in ADVANCED or not hasattr(part, "advanced"):
        return part
    marked = copy(part)
    vars(marked).update(advanced=True)
    return marked
