"""Reads the motion of a driving: the face of each frame, and how strongly it moves, in groups of frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import FaceError
from ...faces.crop import Face, FaceDetector, choose_face
from ...faces.tracking import TrackOptions, TrackState, track
from ...media.picture import Picture
from ...modules.group_resnet import EXPRESSION_DIM
from ...motion.types import HeadPose
from .crops import Bounds, face_picture, head_picture, portrait_square
from .intensity import intensities
from .model import HunyuanPortrait
from .types import INTENSITY_GROUP, PORTRAIT_SIDE, HunyuanMotion, Square


@dataclass(frozen=True, eq=False)
class PointedFace:
    """A face of a picture."""

    points: NDArray[np.float64]  # [5, 2] two eyes, nose, two mouth corners
    bounds: Bounds


@dataclass(frozen=True, eq=False)
class FirstFace:
    """What stays, for a whole driving, as its first frame with a face has it."""

    bounds: Bounds
    square: Square


def largest_face(picture: Picture, detector: FaceDetector) -> PointedFace | None:
    """The largest face of a picture [H, W, 3]; None without one. Raises FaceError if the detector says no points."""
    return pointed(choose_face(detector(picture), "largest", None))


def pointed(face: Face | None) -> PointedFace | None:
    """A detected face with its five points; None for None. Raises FaceError if the detector says no points."""
    if face is None:
        return None
    if face.points is None:
        raise FaceError("HunyuanPortrait needs five points of a face, and this detector says none: choose yunet")
    box = face.box
    return PointedFace(np.array(face.points, np.float64), (box.left, box.top, box.right, box.bottom))


def followed_faces(
    frames: Iterable[Picture], detector: FaceDetector, choice: str = "largest"
) -> Iterator[tuple[Picture, PointedFace | None]]:
    """Each frame [H, W, 3] with the followed person's face: in the first frame with it the one of `choose_face`.

    None in frames without that person. The published program takes the largest of each frame, whoever it is. Raises
    FaceError as `largest_face`, InputError for an unknown choice.
    """
    state: TrackState | None = None
    options = TrackOptions(choice=choice)
    for frame in frames:
        faces = detector(frame)
        state, is_found = track(state, faces, frame.shape[:2], options)
        yield frame, pointed(next(face for face in faces if face.box is state.face) if is_found else None)


def read_motion_of(
    model: HunyuanPortrait,
    frames: Iterable[Picture],
    detector: FaceDetector,
    side: int = PORTRAIT_SIDE,
    choice: str = "largest",
) -> Iterator[HunyuanMotion]:
    """The motion of driving frames [H, W, 3], in pieces of 25; frames without the face are not `valid`.

    `side` is the pixels a side of the square that the head's picture is made of, `choice` the face that is followed.
    Raises as `followed_faces` does.
    """
    source, first = followed_faces(frames, detector, choice), None
    while seen := list(islice(source, INTENSITY_GROUP)):
        group, faces = [frame for frame, _ in seen], [face for _, face in seen]
        known = next((place for place, face in enumerate(faces) if face), None)
        if first is None and known is not None:
            first = _first(faces[known], group[known])
        yield _no_motion(len(group)) if first is None else _group_motion(model, group, faces, first, side)


def _first(face: PointedFace | None, frame: Picture) -> FirstFace | None:
    if face is None:
        return None
    height, width = frame.shape[:2]
    return FirstFace(face.bounds, portrait_square(face.bounds, width, height))


def _group_motion(
    model: HunyuanPortrait,
    frames: Sequence[Picture],
    faces: Sequence[PointedFace | None],
    first: FirstFace,
    side: int,
) -> HunyuanMotion:
    motion = _no_motion(len(frames))
    found = [(place, face) for place, face in enumerate(faces) if face]
    if not found:
        return motion
    places = torch.tensor([place for place, _ in found])
    own = [face_picture(frames[place], face.points, first.bounds) for place, face in found]
    heads = [head_picture(frames[place], first.square, side) for place, _ in found]
    expression, angles = model.read(unit_planes(own), unit_planes(heads))
    levels = intensities(np.stack([face.points for _, face in found]))
    motion.expression[places], motion.pose.angles[places] = expression, angles
    motion.intensity[:] = torch.tensor(levels, dtype=torch.float32)
    motion.box[places] = torch.tensor([face.bounds for _, face in found], dtype=torch.float32)
    motion.valid[places] = True
    return motion


def unit_planes(pictures: Sequence[Picture]) -> Tensor:
    """Pictures [H, W, 3] -> [F, 3, H, W] in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float() / 255


def _no_motion(frames: int) -> HunyuanMotion:
    pose = HeadPose(torch.zeros(frames, 3), torch.zeros(frames, 3), torch.ones(frames, 1))
    return HunyuanMotion(
        expression=torch.zeros(frames, EXPRESSION_DIM),
        intensity=torch.zeros(frames, 2),
        pose=pose,
        box=torch.zeros(frames, 4),
        valid=torch.zeros(frames, dtype=torch.bool),
    )
