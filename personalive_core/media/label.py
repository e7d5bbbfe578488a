"""Labels generated files: facts in their metadata, and a small visible mark."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..version import __version__

SOFTWARE = f"PersonaLive for ComfyUI {__version__}"
GENERATED: Mapping[str, str] = {
    "generated": "The movements in this picture or video are made by artificial intelligence.",
    "software": SOFTWARE,
    # IPTC's term for synthetic media; other programs look for it
    "digital_source_type": "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
}


def make_label(generated: bool, details: Mapping[str, str]) -> dict[str, str]:
    """The facts to store: that the file is generated and by which software (if `generated`), then `details`."""
    return {**(GENERATED if generated else {}), **details}


def label_text(facts: Mapping[str, str]) -> str:
    """`facts` as one line of ASCII JSON, which every metadata format can store."""
    return json.dumps(dict(facts))


def parse_label(text: str) -> dict[str, str]:
    """The inverse of `label_text`; returns an empty dict for any other text."""
    try:
        facts = json.loads(text)
    except ValueError:
        return {}
    return {key: str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}


def container_metadata(facts: Mapping[str, str]) -> dict[str, str]:
    """`facts` under the two keys that mp4, mov and mkv all keep; players show the comment."""
    if not facts:
        return {}
    return {"comment": facts.get("generated", SOFTWARE), "description": label_text(facts)}


def badge(height: int) -> NDArray[np.uint8]:
    """The visible mark for pictures `height` pixels high: "AI" in a dark box, as [h, w, 2] (grey, opacity)."""
    size = max(10, height // 24)
    font = ImageFont.load_default(size)
    left, top, right, bottom = font.getbbox("AI")
    pad = size // 3
    picture = Image.new("LA", (round(right - left) + 2 * pad, round(bottom - top) + 2 * pad), (0, 128))
    ImageDraw.Draw(picture).text((pad - left, pad - top), "AI", (255, 255), font)
    return np.array(picture)


def stamp(image: NDArray[np.uint8], mark: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns a copy of `image` [H, W, 3] with `mark` [h, w, 2] in its lower right corner."""
    h, w = min(mark.shape[0], image.shape[0]), min(mark.shape[1], image.shape[1])
    grey, opacity = mark[:h, :w, :1].astype(np.float32), mark[:h, :w, 1:] / np.float32(255)
    marked = image.copy()
    corner = marked[-h:, -w:]
    corner[:] = np.rint(corner * (1 - opacity) + grey * opacity)
    return marked
