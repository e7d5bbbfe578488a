"""The driving's faces: found in a first pass, cropped by one square for the whole clip, and read in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from ...errors import FaceError, InputError
from ...faces.crop import Box, square_around, whole_frame
from ...media.ahead import ahead
from ...media.picture import Picture
from .crops import DRIVING_CROP, SIDE, CropRule, FaceSquare, crop_matrix, face_square, resized_bilinear, warped
from .finding import Finder, FollowState, follow_face, rule_for
from .model import LivePortrait
from .motion import FaceFacts, read_implicit, unit_pictures
from .portrait import WINDOW, face_facts
from .types import ImplicitMotion

INPUT_SIDE = SIDE // 2  # pixels of a picture that the networks take


@dataclass(frozen=True, eq=False)
class DrivingFaces:
    """What a first pass over the driving says: 0.03 kB a frame."""

    square: FaceSquare | None = None  # the crop of every frame; None: each frame's largest square
    facts: FaceFacts | None = None  # of F frames; None: nothing was looked for, every frame has a face


def boxed_driving(box: Box) -> DrivingFaces:
    """The square of a driving that the user gave, for every frame."""
    square = square_around(box)
    return DrivingFaces(FaceSquare(square.centre, square.size, 0.0))


def find_driving(frames: Iterable[Picture], finder: Finder, rule: CropRule = DRIVING_CROP) -> DrivingFaces:
    """Follows the face through the frames [H, W, 3] of a driving; its square is the mean of all frames'.

    Raises FaceError if no frame has a face.
    """
    parts: list[FaceFacts] = []
    boxes: list[tuple[float, float, float, float]] = []
    state, source = FollowState(), iter(frames)
    while window := list(islice(source, WINDOW)):
        found = []
        for frame in window:
            state, face = follow_face(state, frame, finder)
            found.append(face)
        boxes += [face_square(face.points, rule_for(rule, face.points)).box for face in found if face]
        parts.append(face_facts(found, [face is not None for face in found]))
    if not boxes:
        raise FaceError("no face in any driving frame: choose another detector, or give the face's box")
    left, top, right, bottom = np.mean(boxes, 0).tolist()
    square = FaceSquare(((left + right) / 2, (top + bottom) / 2), right - left, 0.0)
    return DrivingFaces(square, _joined(parts))


def driving_picture(frame: Picture, square: FaceSquare | None) -> Picture:
    """The part [256, 256, 3] of a driving frame [H, W, 3] that the motion networks see."""
    height, width = frame.shape[:2]
    if square is None and height == width:
        return resized_bilinear(frame, INPUT_SIDE, INPUT_SIDE)
    if square is None:
        centred = whole_frame((height, width))
        square = FaceSquare(centred.centre, centred.size, 0.0)
    return resized_bilinear(warped(frame, crop_matrix(square, SIDE, False), SIDE, SIDE), INPUT_SIDE, INPUT_SIDE)


def read_driving(
    model: LivePortrait, frames: Iterable[Picture], faces: DrivingFaces = DrivingFaces()
) -> Iterator[ImplicitMotion]:
    """The motion of driving frames [H, W, 3], in pieces; `faces` are of the same frames.

    A thread takes and crops the next frames while the networks read these.
    """
    begin, source = 0, iter(frames)

    def cropped() -> Iterator[torch.Tensor]:
        while window := list(islice(source, WINDOW)):
            yield unit_pictures([driving_picture(frame, faces.square) for frame in window])

    with closing(ahead(cropped(), 1)) as parts:
        for pictures in parts:
            count = len(pictures)
            facts = _boxes(faces.square, count) if faces.facts is None else _cut(faces.facts, begin, count)
            yield read_implicit(model, pictures, facts)
            begin += count


def with_openness(motions: Iterable[ImplicitMotion], eyes: bool, lips: bool) -> Iterator[ImplicitMotion]:
    """Frames whose openness of eyes or lips is not known take that of the frame before; only what is asked for.

    Raises InputError if it is not known in the first frame.
    """
    held: dict[str, torch.Tensor] = {}
    for motion in motions:
        filled = {name: getattr(motion, name).clone() for name, asked in (("eyes", eyes), ("lips", lips)) if asked}
        for name, values in filled.items():
            for index, value in enumerate(values):
                known = value if bool(value.isfinite().all()) else held.get(name)
                if known is None:
                    raise InputError(unknown_openness(name, "driving's"))
                values[index] = held[name] = known
        yield replace(motion, **filled)


def unknown_openness(what: str, whose: str) -> str:
    """The message for eyes or lips whose openness is asked for and not known."""
    return (
        f"how open the {whose} {what} are is read from 203 landmarks, and these were not found: put landmark.onnx into "
        "the weights folder and let a detector find the face, or leave the eyes and lips as they are"
    )


def _boxes(square: FaceSquare | None, count: int) -> FaceFacts:
    box = (0.0, 0.0, 0.0, 0.0) if square is None else square.box
    return FaceFacts(box=torch.tensor([box]).expand(count, -1).clone())


def _each(facts: FaceFacts, change: Callable[[torch.Tensor], torch.Tensor]) -> FaceFacts:
    return FaceFacts(*(None if part is None else change(part) for part in vars(facts).values()))


def _cut(facts: FaceFacts, begin: int, count: int) -> FaceFacts:
    return _each(facts, lambda part: part[begin : begin + count])


def _joined(parts: list[FaceFacts]) -> FaceFacts:
    names = vars(parts[0])
    return FaceFacts(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})
