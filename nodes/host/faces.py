"""Face detection and cropping for the nodes, and the HTTP route that serves the page's face picker."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from aiohttp import web
from comfy_api.v0_0_2 import io
from server import PromptServer

from ...personalive_core.backends.personalive.files import yunet_file
from ...personalive_core.errors import FaceError, InputError, PersonaLiveError, WeightsError, remedy_first
from ...personalive_core.faces.crop import Box, Crop, Face, crop_by_hand, crop_found
from ...personalive_core.faces.detectors import DETECTORS, detector_for, helpful_detector, used_detector
from ...personalive_core.media.picture import Picture
from .folders import MODELS, detector_folder, viewed, weight_folders
from .glance import Glance, glance
from .panel import data_url

ROUTE = "/personalive/faces"
# Sent by the page. An <img> or a form of another site cannot set it, and its scripts must ask first (CORS).
PAGE_HEADER = "X-PersonaLive"
MOST_WAITING = 16  # requests; they are answered one at a time
FRAME_SIDE = 1024  # pixels of the longer side of a film's frame in the picker
SHOWN_BY_ROUTE = ("auto", "yunet", "haar")
LARGEST = "largest"
CHOICES: Mapping[str, str] = {  # option of the `face` widget -> the core's name for it
    LARGEST: LARGEST,
    "1st from left": "0",
    "2nd from left": "1",
    "3rd from left": "2",
    "4th from left": "3",
}
MANUAL = "give face_box the face's left, top, right, bottom"
NO_YUNET = (
    "finding the face needs YuNet, which is not downloaded: turn on download_if_missing in Load PersonaLive and run "
    f"again, or {MANUAL}"
)
# Weights folder -> how often a node needed YuNet and it was not there. Load PersonaLive and Load LivePortrait, whose
# download of it may have failed, then run again.
LACKED: Counter[Path] = Counter()


def detector_input() -> io.Combo.Input:
    """The detector widget, which several nodes share."""
    return io.Combo.Input(
        "detector",
        options=list(DETECTORS),
        default="auto",
        tooltip="How faces are found. auto: a square picture is taken whole, in others YuNet looks for the face. "
        "none: the centred square. insightface must be installed by you; its models are for research only.",
    )


def face_inputs() -> list[io.Input]:
    """The widgets that select one face: detector, face, face_box."""
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
    """Parses "left, top, right, bottom" in pixels; None for an empty text. Raises InputError for anything else."""
    if not text.strip():
        return None
    try:
        left, top, right, bottom = (float(part) for part in text.replace(",", " ").split())
    except ValueError as error:
        raise InputError(f"face_box is {text!r}: write four numbers, left, top, right, bottom, or nothing") from error
    return Box(left, top, right, bottom)


def mask_box(mask: torch.Tensor | None, picture: Picture) -> Box | None:
    """The box, in pixels of `picture`, around the painted area of a MASK [1, h, w]; None if nothing is painted.

    The mask may have another size than the picture.
    """
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
    """Translates an option of the `face` widget into the core's name. Raises InputError for an unknown option."""
    if face not in CHOICES:
        raise InputError(f"unknown face {face!r}: choose {', '.join(CHOICES)}")
    return CHOICES[face]


def yunet(weights: Path, problem: str = NO_YUNET) -> Path:
    """Path of YuNet's file in the folder `weights`.

    Raises WeightsError with the text `problem`, and notes it in `LACKED`, if it is missing.
    """
    folder = detector_folder(weights)
    try:
        return yunet_file(folder, problem)
    except WeightsError:
        LACKED[folder] += 1
        raise


def yunet_if_there(weights: Path) -> Path:
    """Like `yunet`, for a node that goes on without it: it is noted once, so that offline not every run loads anew."""
    folder = detector_folder(weights)
    try:
        return yunet_file(folder, NO_YUNET)
    except WeightsError:
        LACKED[folder] = LACKED[folder] or 1
        raise


def look_for(picture: Picture, name: str, weights: Path) -> tuple[Face, ...] | None:
    """The faces that the detector called `name` finds; None if that choice means no detection.

    Raises InputError for an unknown detector or a missing package, WeightsError for a missing model file.
    """
    detector = detector_for(name, picture, partial(yunet, weights))
    return detector(picture) if detector else None


def face_crop(picture: Picture, box: Box | None, faces: tuple[Face, ...] | None, face: str) -> Crop:
    """The head-and-shoulders square around `box`, or else around the one of `faces` that the option `face` selects.

    Raises FaceError if that face was not found, InputError for an unknown option or a box outside the picture.
    """
    size = picture.shape[:2]
    if box is not None:
        return crop_by_hand(box, size, "face_box")
    crop = crop_found(faces, choice(face), size)
    if crop is None:
        raise FaceError(f"no such face was found in the picture: choose another detector or face, or {MANUAL}")
    return crop


def helpful_faces(picture: Picture, name: str, weights: Path) -> tuple[Face, ...]:
    """Faces for the picker, which works without any: "none" gives no faces, "auto" what there is a detector for.

    Raises InputError and WeightsError as `helpful_detector` does.
    """
    detector = helpful_detector(name, partial(yunet_file, detector_folder(weights), NO_YUNET))
    return detector(picture) if detector else ()


def boxes(faces: tuple[Face, ...]) -> list[list[float]]:
    """The faces' boxes for the page, sorted from left to right: [left, top, right, bottom] of each, in pixels."""
    return [corners(face.box) for face in sorted(faces, key=lambda face: face.box.centre)]


def corners(box: Box) -> list[float]:
    """A box for the page: [left, top, right, bottom] in pixels, rounded to 0.1."""
    return [round(edge, 1) for edge in (box.left, box.top, box.right, box.bottom)]


def square(crop: Crop) -> list[float]:
    """The crop's square for the page, in the same form as `corners`."""
    return corners(Box(crop.left, crop.top, crop.left + crop.size, crop.top + crop.size))


def add_routes() -> None:
    """Adds GET /personalive/faces: detects the faces in a picture, or in a film's frame, of ComfyUI's folders.

    The face picker uses it before the first run.
    """
    server = getattr(PromptServer, "instance", None)
    if server is not None:  # else ComfyUI's modules are loaded without its server, as in a test
        server.routes.get(ROUTE)(answering(look))


def answering(look: Callable[[dict[str, str]], dict[str, object]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    """The route's handler: answers the page's own requests with what `look` gives, one at a time and in turn."""
    worker = ThreadPoolExecutor(1, "personalive-faces")  # starts its thread at the first request
    waiting: set[int] = set()  # ids of requests

    async def answer(request: web.Request) -> web.Response:
        if request.headers.get(PAGE_HEADER) != "1":
            return refused(
                403, f"only this ComfyUI's page may ask for faces: send the header {PAGE_HEADER} with the value 1"
            )
        if len(waiting) >= MOST_WAITING:
            return refused(429, f"{len(waiting)} pictures are being looked at: wait a moment, then choose it again")
        waiting.add(id(request))
        try:
            query = dict(request.query)
            return web.json_response(await asyncio.get_running_loop().run_in_executor(worker, look, query))
        except (PersonaLiveError, OSError, ValueError, ArithmeticError) as error:
            return refused(200, str(error))  # browsers log a 400 to the console
        finally:
            waiting.discard(id(request))

    return answer


def refused(status: int, sentence: str) -> web.Response:
    """An answer that says why there are no faces."""
    return web.json_response({"error": remedy_first(sentence)}, status=status)


def look(query: dict[str, str]) -> dict[str, object]:
    """The JSON answer to a request of that route.

    width, height: pixels of the full picture; faces: their boxes in it; detects: whether the node would look for faces,
    too; image: a film's frame as a data URL. Raises PersonaLiveError, which names the file without its folder.
    """
    path = viewed(query.get("filename", ""), query.get("subfolder", ""), query.get("type", "input"))
    weights, detector = weight_folders()[MODELS], query.get("detector", "auto")
    try:
        seen, is_film = glance(path, float(query.get("start") or 0))
        # a page request must not make insightface download
        faces = helpful_faces(seen.picture, detector, weights) if detector in SHOWN_BY_ROUTE else ()
    except (PersonaLiveError, OSError) as error:
        text = str(error).replace(f"{path.parent}{os.sep}", "").replace(f"{weights}{os.sep}", "")
        raise InputError(text) from error
    answer = {"width": seen.width, "height": seen.height, "faces": in_full(boxes(faces), seen)}
    answer["detects"] = used_detector(detector, np.broadcast_to(np.uint8(0), (seen.height, seen.width, 3))) != "none"
    return {**answer, "image": data_url(seen.picture, FRAME_SIDE)} if is_film else answer


def in_full(faces: list[list[float]], seen: Glance) -> list[list[float]]:
    """Boxes in pixels of the small copy -> in pixels of the full picture."""
    height, width = seen.picture.shape[:2]
    scale, most = (seen.width / width, seen.height / height) * 2, (seen.width, seen.height) * 2
    return [[round(min(edge * by, end), 1) for edge, by, end in zip(face, scale, most, strict=True)] for face in faces]
