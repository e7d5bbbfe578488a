"""What all nodes' schemas have in common: the category, and the words by which ComfyUI's node search finds them."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from comfy_api.v0_0_2 import io

CATEGORY = "PersonaLive"
SEARCH_WORDS = ("PersonaLive", "live portrait", "LivePortrait", "talking head", "face animation", "talking face")


def schema(**parts: Any) -> io.Schema:
    """A node's schema from the arguments of io.Schema, with what all nodes share.

    Older ComfyUI, such as 0.3.64, has no search_aliases: its search looks at a node's id and names alone.
    """
    newer = {"search_aliases": list(SEARCH_WORDS)}
    known = {field.name for field in fields(io.Schema)}
    return io.Schema(category=CATEGORY, **parts, **{name: value for name, value in newer.items() if name in known})
