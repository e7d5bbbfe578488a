"""Prepares a reference picture: its square, latents, and tokens of how the person looks."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import FaceError, InputError
from ...faces.crop import FaceDetector, check_picture
from ...media.picture import Picture
from .crops import arcface_picture, portrait_square, square_picture
from .model import HunyuanPortrait
from .motion import largest_face, unit_planes
from .types import PER_LATENT, PORTRAIT_SIDE, HunyuanReference, Square

DINO_SIDE = 224
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pictures
_MULTIPLE = 8 * PER_LATENT  # the UNet halves the latents three times


def prepare_hunyuan(
    model: HunyuanPortrait, picture: Picture, detector: FaceDetector, side: int = PORTRAIT_SIDE
) -> HunyuanReference:
    """What animation needs of a picture [H, W, 3]; the animated square has `side` pixels a side.

    Raises FaceError if no face is found, in the picture or again in the square around it; InputError for a side that
    is no multiple of 64.
    """
    check_picture(picture)
    if side < _MULTIPLE or side % _MULTIPLE:
        raise InputError(f"the animated square's side is a multiple of {_MULTIPLE} pixels, got {side}: use 512")
    square = reference_square(picture, detector)
    cut = square_picture(picture, square, side)
    again = largest_face(cut, detector)
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


def reference_square(picture: Picture, detector: FaceDetector) -> Square:
    """The square around the largest face of a picture [H, W, 3]. Raises FaceError if no face is found."""
    found = largest_face(picture, detector)
    if found is None:
        raise FaceError("no face was found in the portrait: use a picture with one clear face")
    height, width = picture.shape[:2]
    return portrait_square(found.bounds, width, height)


def dino_picture(unit: Tensor) -> Tensor:
    """A picture [1, 3, S, S] in [0, 1] -> [1, 3, 224, 224], normalised as ImageNet's."""
    small = functional.interpolate(unit, (DINO_SIDE, DINO_SIDE), mode="bilinear", antialias=True)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
    return (small - mean) / deviation
