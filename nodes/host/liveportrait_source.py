"""A source picture for LivePortrait's nodes: its face found, cropped and read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from comfy_api.v0_0_2 import io
from numpy.typing import NDArray

from ...personalive_core.backends.liveportrait.crops import AXIS_POINTS, SOURCE_CROP, CropRule
from ...personalive_core.backends.liveportrait.files import landmark_file
from ...personalive_core.backends.liveportrait.finding import FoundFace, face_at_points, face_in_box, find_face
from ...personalive_core.backends.liveportrait.landmarker import LiveLandmarker, open_landmarker
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.motion import read_implicit, unit_pictures
from ...personalive_core.backends.liveportrait.portrait import SourcePortrait, face_facts, prepare_source, source_crop
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.backends.personalive.files import yunet_file
from ...personalive_core.errors import FaceError, InputError
from ...personalive_core.faces.crop import FaceDetector, crop_by_hand
from ...personalive_core.faces.detectors import DETECTORS, detector_for
from ...personalive_core.media.picture import Picture
from .faces import MANUAL, choice, face_inputs, parse_box, yunet
from .liveportrait import detector_place, draw_bytes
from .memory import with_room
from .sockets import LoadedLivePortrait

NO_LIVE_YUNET = (
    "finding the face needs YuNet, which is not downloaded: turn on download_if_missing in Load LivePortrait and run "
    f"again, or {MANUAL}"
)
BY_HAND = "draw a face_box around the animal's face, or click its nine points in Prepare Source"
FacePoints = NDArray[np.float32]


@dataclass(frozen=True)
class FaceChoice:
    """Which face of a picture, and how much around it: the values of `choice_inputs`, and of `points_input`."""

    detector: str = "auto"
    face: str = "largest"
    face_box: str = ""
    crop_scale: float = 1.0
    crop_x: float = 0.0
    crop_y: float = 0.0
    face_points: str = ""

    def rule(self, usual: CropRule) -> CropRule:
        """The `usual` crop, changed as the widgets say."""
        return replace(
            usual,
            scale=usual.scale * self.crop_scale,
            right=usual.right + self.crop_x,
            down=usual.down + self.crop_y,
        )


def found_inputs() -> list[io.Input]:
    """The widgets that say which face it is."""
    detector = io.Combo.Input(
        "detector",
        options=list(DETECTORS),
        default="auto",
        tooltip="How faces are found. auto: by YuNet. none: the centred square is the face. insightface must be "
        "installed by you; its models are for research only.",
    )
    return [detector, *face_inputs()[1:]]


def choice_inputs() -> list[io.Input]:
    """The widgets of a FaceChoice but for its points, in the order and by the names of its fields."""
    return [
        *found_inputs(),
        io.Float.Input(
            "crop_scale",
            default=1.0,
            min=0.5,
            max=2.0,
            step=0.05,
            tooltip="Size of the square around the face: above 1 shows more around it.",
        ),
        *(
            io.Float.Input(name, default=0.0, min=-1.0, max=1.0, step=0.01, tooltip=tooltip)
            for name, tooltip in (
                ("crop_x", "Moves the square to the right, in parts of its side."),
                ("crop_y", "Moves the square down, in parts of its side."),
            )
        ),
    ]


def points_input() -> io.String.Input:
    """The widget of the points; it came later."""
    return io.String.Input(
        "face_points",
        default="",
        optional=True,
        tooltip="For animals, instead of face_box: nine points x, y; x, y in pixels, clicked in the picture with "
        "Points: corners of the right eye and of the left, nose, corners of the mouth, upper and lower lip.",
    )


def parse_points(text: str) -> FacePoints | None:
    """Parses "x, y; x, y ..." in pixels of a layout that places a crop; None for an empty text.

    Raises InputError for anything else.
    """
    if not text.strip():
        return None
    try:
        numbers = [float(part) for part in text.replace(",", " ").replace(";", " ").split()]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) % 2 or not all(map(math.isfinite, numbers)):
        raise InputError(f"face_points is {text[:40]!r}: write nine points x, y; x, y in pixels, or nothing")
    if len(numbers) // 2 not in AXIS_POINTS:
        raise InputError(f"face_points has {len(numbers) // 2} of nine points: click the others, or clear it")
    return np.array(numbers, np.float32).reshape(-1, 2)


def face_by_points(points: FacePoints, whole: Picture) -> FoundFace:
    """The face at points [N, 2] given by hand. Raises InputError if they are outside the picture [H, W, 3]."""
    found = face_at_points(points)
    crop_by_hand(found.box, whole.shape[:2], "face_points")
    return found


def landmarker(model: LoadedLivePortrait) -> LiveLandmarker | None:
    """The landmark network beside the model's weights; None where it is not, and for animals, which it does not know.

    Raises WeightsError for a file that cannot be read.
    """
    path = landmark_file(model.weights) if model.subject == "human" else None
    return None if path is None else _opened(model.weights, path, path.stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(folder: Path, _path: Path, _changed: int) -> LiveLandmarker | None:
    return open_landmarker(folder)


def live_face_detector(
    name: str, picture: Picture, problem: str = NO_LIVE_YUNET, needed: bool = True
) -> FaceDetector | None:
    """The detector called `name`; None: the picture itself is the face. Raises as `make_detector` does.

    `problem` says what to do without YuNet. Where it is `needed`, this is noted: what downloads it runs again.
    """
    find = yunet if needed else yunet_file
    return detector_for("yunet" if name == "auto" else name, picture, lambda: find(detector_place(), problem))


def found_face(model: LoadedLivePortrait, whole: Picture, wanted: FaceChoice) -> FoundFace | None:
    """The chosen face of a picture [H, W, 3]; None: the centred square is the face.

    Raises FaceError if that face was not found, InputError for an unknown choice or a box or points outside the
    picture, WeightsError if the detector is missing.
    """
    points = parse_points(wanted.face_points)
    if points is not None:
        return face_by_points(points, whole)
    box = parse_box(wanted.face_box)
    if box is not None:
        crop_by_hand(box, whole.shape[:2], "face_box")  # refuses one outside the picture
        return face_in_box(whole, box, landmarker(model))
    detector = live_face_detector(wanted.detector, whole)
    if detector is None:
        return None
    found = find_face(whole, detector, choice(wanted.face), landmarker(model))
    if found is None and model.subject == "animal":
        raise FaceError(f"the detectors know human faces and found none: {BY_HAND}")
    if found is None:
        raise FaceError(f"no such face was found in the picture: choose another detector or face, or {MANUAL}")
    return found


def read_source(
    model: LoadedLivePortrait, whole: Picture, wanted: FaceChoice, usual: CropRule = SOURCE_CROP
) -> SourcePortrait:
    """Crops the chosen face by the `usual` rule and reads it; on the CPU. Raises as `found_face` does."""
    portrait = prepare_source(roomy(model), whole, found_face(model, whole, wanted), wanted.rule(usual))
    # an output that ComfyUI caches must not hold GPU memory
    return replace(portrait, source=portrait.source.to(torch.device("cpu"), torch.float32))


def read_expression(model: LoadedLivePortrait, whole: Picture, wanted: FaceChoice) -> ImplicitMotion:
    """The motion [1] of the chosen face. Raises as `found_face` does."""
    found = found_face(model, whole, wanted)
    crop = source_crop(whole, found, wanted.rule(SOURCE_CROP))
    return read_implicit(roomy(model), unit_pictures([crop.small]), face_facts([found], [True]))


def roomy(model: LoadedLivePortrait) -> LivePortrait:
    """The networks, which keep room to draw a picture free whenever one is brought."""
    return with_room(model.networks, draw_bytes(model.networks.dtype))
