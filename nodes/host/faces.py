"""Faces for the nodes and for the page's face picker: which detector, which face, which square."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import torch
from aiohttp import web
from comfy_api.v0_0_2 import io
from server import PromptServer

from ...personalive_core.backends.personalive.files import FILES, yunet_file
from ...personalive_core.errors import FaceError, InputError, PersonaLiveError, remedy_first
from ...personalive_core.faces.crop import Box, Crop, Face, crop_by_hand, crop_found
from ...personalive_core.faces.detectors import DETECTORS, detector_for, make_detector
from ...personalive_core.media.picture import Picture, read_image
from ...personalive_core.weights.index import locate
from .folders import MODELS, viewed, weight_folders

SHOWN_BY_ROUTE = ("auto", "yunet", "haar")
LARGEST = "largest"
CHOICES: Mapping[str, str] = {  # the widget's words -> the core's
    LARGEST: LARGEST,
    "1st from left": "0",
    "2nd from left": "1",
    "3rd from left": "2",
    "4th from left": "3",
}
MANUAL = "give face_box the face's left, top, right, bottom"


def detector_input() -> io.Combo.Input:
    """The widget that several nodes have."""
    return io.Combo.Input(
        "detector",
        options=list(DETECTORS),
        default="auto",
        tooltip="How faces are found. auto: a square picture is taken whole, in others YuNet looks for the face. "
        "none: the centred square. insightface must be installed by you; its models are for research only.",
    )


def face_inputs() -> list[io.Input]:
    """The widgets that say whose face is meant."""
    return [
        detector_input(),
        io.Combo.Input("face", options=list(CHOICES), default=LARGEST, tooltip="Whose face, when there are several."),
        io.String.Input(
            "face_box",
            default="",
            tooltip="The face's left, top, right, bottom in pixels of the picture, for example 120, 80, 260, 250. "
            "Empty: the detector decides.",
        ),
    ]


def parse_box(text: str) -> Box | None:
    """ "l, t, r, b" -> Box; None for an empty text. Raises InputError."""
    if not text.strip():
        return None
    try:
        left, top, right, bottom = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise InputError(f"face_box is {text!r}: write four numbers, left, top, right, bottom, or nothing") from error
    return Box(left, top, right, bottom)


def mask_box(mask: torch.Tensor | None, picture: Picture) -> Box | None:
    """The rectangle around what is painted in a MASK [1, h, w] of any size; None where nothing is."""
    if mask is None:
        return None
    painted = mask.reshape(-1, *mask.shape[-2:]).amax(0) > 0.5 if mask.numel() else mask  # noqa: PLR2004 - half covered
    rows, columns = painted.nonzero(as_tuple=True)[-2:]
    if not len(rows):
        return None
    height, width = picture.shape[:2]
    x, y = width / mask.shape[-1], height / mask.shape[-2]
    left, top, right, bottom = int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1
    return Box(left * x, top * y, right * x, bottom * y)


def choice(face: str) -> str:
    """The core's word for the widget's. Raises InputError."""
    if face not in CHOICES:
        raise InputError(f"unknown face {face!r}: choose {', '.join(CHOICES)}")
    return CHOICES[face]


def yunet(weights: Path) -> Path:
    """YuNet's file in that folder. Raises WeightsError where it is not there."""
    return yunet_file(
        weights,
        "the YuNet face detector is not downloaded and the picture is not square: turn on download_if_missing in "
        f"Load PersonaLive, set detector to haar or none, or {MANUAL}",
    )


def look_for(picture: Picture, name: str, weights: Path) -> tuple[Face, ...] | None:
    """The faces that the detector finds; None where the choice is to look for none."""
    detector = detector_for(name, picture, partial(yunet, weights))
    return detector(picture) if detector else None


def face_crop(picture: Picture, box: Box | None, faces: tuple[Face, ...] | None, face: str) -> Crop:
    """The head-and-shoulders square around `box`, or around the chosen one of `faces`. Raises FaceError, InputError."""
    size = picture.shape[:2]
    if box is not None:
        return crop_by_hand(box, size, "face_box")
    crop = crop_found(faces, choice(face), size)
    if crop is None:
        raise FaceError(f"no such face was found in the picture: choose another detector or face, or {MANUAL}")
    return crop


def helpful_faces(picture: Picture, name: str, weights: Path) -> tuple[Face, ...]:
    """What the picker shows where nothing has to be found: for "auto" Haar's faces, if YuNet is missing."""
    if name == "none":
        return ()
    if name == "auto" and (not weights.is_dir() or locate(weights, FILES).missing(("yunet",))):
        name = "haar"
    return make_detector(name, partial(yunet, weights))(picture)


def boxes(faces: tuple[Face, ...]) -> list[list[float]]:
    """As the page wants them, from left to right."""
    return [corners(face.box) for face in sorted(faces, key=lambda face: face.box.centre)]


def corners(box: Box) -> list[float]:
    """As the page wants it: left, top, right, bottom."""
    return [round(edge, 1) for edge in (box.left, box.top, box.right, box.bottom)]


def square(crop: Crop) -> list[float]:
    """Likewise."""
    return corners(Box(crop.left, crop.top, crop.left + crop.size, crop.top + crop.size))


def add_routes() -> None:
    """GET /personalive/faces: the faces in a picture of ComfyUI's folders, for the picker before the first run."""
    server = getattr(PromptServer, "instance", None)
    if server is None:  # ComfyUI's modules without its server, as in a test
        return

    @server.routes.get("/personalive/faces")
    async def faces(request: web.Request) -> web.Response:
        try:
            return web.json_response(await asyncio.to_thread(look, dict(request.query)))
        except (PersonaLiveError, OSError, ValueError) as error:  # not a 400: browsers write those to the console
            return web.json_response({"error": remedy_first(str(error))})


def look(query: dict[str, str]) -> dict[str, object]:
    """The answer to one such request. Raises PersonaLiveError."""
    path = viewed(query.get("filename", ""), query.get("subfolder", ""), query.get("type", "input"))
    picture, weights, detector = read_image(path), weight_folders()[MODELS], query.get("detector", "auto")
    if detector not in SHOWN_BY_ROUTE:  # insightface downloads its models: not because a page asks
        return {"width": picture.shape[1], "height": picture.shape[0], "faces": []}
    faces = helpful_faces(picture, detector, weights)
    return {"width": picture.shape[1], "height": picture.shape[0], "faces": boxes(faces)}
