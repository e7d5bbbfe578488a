"""Prepares a reference picture: its square, latents, and tokens of how the person looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import FaceError, InputError
from ...faces.crop import Box, Face, FaceDetector, check_picture, choose_face
from ...media.picture import Picture
from ...text import plural
from .crops import arcface_picture, portrait_square, square_picture
from .model import HunyuanPortrait
from .motion import PointedFace, pointed, unit_planes
from .types import PER_LATENT, PORTRAIT_SIDE, HunyuanReference, Square

DINO_SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures
_MULTIPLE = 8 * PER_LATENT  # the UNet halves the latents three times


def prepare_hunyuan(
    model: HunyuanPortrait,
    picture: Picture,
    detector: FaceDetector,
    side: int = PORTRAIT_SIDE,
    choice: str = "largest",
) -> HunyuanReference:
    """What animation needs of the face of `choose_face` in a picture [H, W, 3]; the animated square has `side` pixels.

    Raises FaceError if that face is not found, in the picture or again in the square around it; InputError for a side
    that is no multiple of 64, or an unknown choice.
    """
    check_picture(picture)
    if side < _MULTIPLE or side % _MULTIPLE:
        raise InputError(f"the animated square's side is a multiple of {_MULTIPLE} pixels, got {side}: use 512")
    found = portrait_face(picture, detector, choice)
    square = square_of(found, picture)
    cut = square_picture(picture, square, side)
    again = face_again(detector(cut), found, square, side, choice)
    if again is None:
        raise FaceError("the portrait's face was not found again in its crop: use a picture with one clear face")
    unit = unit_planes([cut])
    return HunyuanReference(
        picture=picture,
        square=square,
        latents=model.encode(2 * unit - 1),
        tokens=model.look(dino_picture(unit), arcface_picture(cut, again.points)),
        pose=model.pose(side, side),
    )


def reference_square(picture: Picture, detector: FaceDetector, choice: str = "largest") -> Square:
    """The square around the face of `choose_face` in a picture [H, W, 3]. Raises as `portrait_face` does."""
    return square_of(portrait_face(picture, detector, choice), picture)


def portrait_face(picture: Picture, detector: FaceDetector, choice: str = "largest") -> PointedFace:
    """The face of `choose_face` in a picture [H, W, 3].

    Raises FaceError if there is none, or not that one; InputError for an unknown choice.
    """
    faces = detector(picture)
    found = pointed(choose_face(faces, choice, None))
    if found is None and faces:
        raise FaceError(
            f"the portrait shows {plural(len(faces), 'face')}, and face {choice} from the left, 0 first, is not among "
            "them: choose another face"
        )
    if found is None:
        raise FaceError("no face was found in the portrait: use a picture with one clear face")
    return found


def square_of(face: PointedFace, picture: Picture) -> Square:
    """The square around a face of a picture [H, W, 3]."""
    height, width = picture.shape[:2]
    return portrait_square(face.bounds, width, height)


def face_again(
    faces: Sequence[Face], before: PointedFace, square: Square, side: int, choice: str
) -> PointedFace | None:
    """The same face among those found in its `square`, resized to `side`: the largest as published, else the nearest.

    None without any. Raises FaceError if the detector says no points.
    """
    if choice == "largest":
        return pointed(choose_face(faces, choice, None))
    left, top, right, bottom = square
    x, y = side / (right - left), side / (bottom - top)
    begin_x, begin_y, end_x, end_y = before.bounds
    place = Box((begin_x - left) * x, (begin_y - top) * y, (end_x - left) * x, (end_y - top) * y)
    return pointed(choose_face(faces, "nearest", place))


def dino_picture(unit: Tensor) -> Tensor:
    """A picture [1, 3, S, S] in [0, 1] -> [1, 3, 224, 224], normalised as ImageNet's."""
    small = functional.interpolate(unit, (DINO_SIDE, DINO_SIDE), mode="bilinear", antialias=True)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
    return (small - mean) / deviation
