"""A source picture for LivePortrait's nodes: its face found, cropped and read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from comfy_api.v0_0_2 import io

from ...personalive_core.backends.liveportrait.crops import SIDE, FaceSquare, crop_matrix, warped
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.motion import read_implicit, unit_pictures
from ...personalive_core.backends.liveportrait.reference import SourceCrop, live_source
from ...personalive_core.backends.liveportrait.types import ImplicitMotion, LiveSource
from ...personalive_core.faces.crop import adjusted
from ...personalive_core.media.picture import Picture
from .faces import face_crop, face_inputs, look_for, parse_box
from .liveportrait import detector_place, draw_bytes
from .memory import with_room
from .sockets import LoadedLivePortrait


@dataclass(frozen=True)
class FaceChoice:
    """Which face of a picture, and how much around it: the values of `choice_inputs`."""

    detector: str = "auto"
    face: str = "largest"
    face_box: str = ""
    crop_scale: float = 1.0
    crop_x: float = 0.0
    crop_y: float = 0.0


@dataclass(frozen=True, eq=False)
class SourceFace:
    """A source picture that was read."""

    whole: Picture  # [H, W, 3]
    crop: SourceCrop
    source: LiveSource  # on the CPU: an output that ComfyUI caches must not hold GPU memory


def choice_inputs() -> list[io.Input]:
    """The widgets of a FaceChoice, in the order and by the names of its fields."""
    return [
        *face_inputs(),
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


def crop_portrait(whole: Picture, choice: FaceChoice) -> SourceCrop:
    """The chosen face of a picture [H, W, 3].

    Raises FaceError if that face was not found, InputError for an unknown choice or a box outside the picture,
    WeightsError if the detector is missing.
    """
    box = parse_box(choice.face_box)
    faces = None if box else look_for(whole, choice.detector, detector_place())
    found = face_crop(whole, box, faces, choice.face)
    placed = adjusted(found, whole.shape[:2], choice.crop_scale, choice.crop_x, choice.crop_y)
    matrix = crop_matrix(FaceSquare(placed.centre, placed.size, 0.0), SIDE, rotated=False)
    return SourceCrop(warped(whole, matrix, SIDE, SIDE), np.linalg.inv(matrix))


def read_source_face(model: LoadedLivePortrait, whole: Picture, choice: FaceChoice) -> SourceFace:
    """Crops the chosen face and reads its appearance and motion. Raises as `crop_portrait` does."""
    crop = crop_portrait(whole, choice)
    source = live_source(roomy(model), [crop.small])
    return SourceFace(whole, crop, source.to(torch.device("cpu"), torch.float32))


def read_expression(model: LoadedLivePortrait, whole: Picture, choice: FaceChoice) -> ImplicitMotion:
    """The motion [1] of the chosen face. Raises as `crop_portrait` does."""
    return read_implicit(roomy(model), unit_pictures([crop_portrait(whole, choice).small]))


def roomy(model: LoadedLivePortrait) -> LivePortrait:
    """The networks, which keep room to draw a picture free whenever one is brought."""
    return with_room(model.networks, draw_bytes(model.networks.dtype))
