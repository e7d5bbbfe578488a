"""The reference picture: read, cropped to its face, ready to be pasted back into."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FaceError, InputError
from ..faces.crop import PORTRAIT_EXPAND, Box, Crop, crop_by_hand, crop_found, crop_image, square_around
from ..faces.paste import PasteBack, PasteOptions, prepare_paste
from ..media.picture import Picture
from ..media.video import read_frames
from .driving import DrivingClip, find_detector
from .engine import Engine


@dataclass(frozen=True, eq=False)
class Portrait:
    """The reference picture and what of it is animated."""

    source: Picture  # [N, N, 3] the square, at full resolution where it is larger than the networks' picture
    picture: Picture  # [S, S, 3] as the networks see it
    paste: PasteBack | None
    canvas: tuple[int, int]  # width, height of the result's pictures


def read_portrait(path: Path) -> Picture:
    """A picture, or the first frame of a video: [H, W, 3] uint8. Raises InputError."""
    return np.asarray(next(read_frames(path, count=1)).image)


def open_portrait(
    path: Path,
    clip: DrivingClip,
    engine: Engine,
    *,
    face: Box | None = None,
    square: Box | None = None,
    paste: PasteOptions | None = None,
) -> Portrait:
    """The reference picture at `path`, cut to its face: to the `square` or around the `face` that the user gave.

    Without either the driving `clip`'s detector looks for the face. Raises InputError, FaceError, or WeightsError
    without a detector.
    """
    whole, size = read_portrait(path), engine.size
    if square:
        crop = square_around(square)
    elif face:
        crop = crop_around(face, whole)
    else:
        crop = found_crop(whole, clip, engine.weights)
    picture = crop_image(whole, crop, size)
    # at full resolution the networks' own resizing is the only one
    source = crop_image(whole, crop, round(crop.size)) if crop.size > size else picture
    paste_back = prepare_paste(whole, crop, size, paste) if paste else None
    height, width = whole.shape[:2] if paste_back else (size, size)
    return Portrait(source, picture, paste_back, (width, height))


def crop_around(face: Box, picture: Picture) -> Crop:
    """The head-and-shoulders square around a face box of the reference `picture` [H, W, 3] that was given by hand.

    Raises InputError where it does not fit: the option meant the square itself once, and such boxes are larger.
    """
    height, width = picture.shape[:2]
    crop = crop_by_hand(face, (height, width), "--reference-box")
    if PORTRAIT_EXPAND * face.side > min(height, width):
        raise InputError(
            f"the head-and-shoulders square around --reference-box does not fit into the {width}x{height} picture: "
            "give the box of the face alone, or the square itself with --reference-crop"
        )
    return crop


def found_crop(picture: Picture, clip: DrivingClip, weights: Path) -> Crop:
    """The square of the reference `picture` [H, W, 3] that is animated, as the driving's detector finds it."""
    detector = find_detector(clip.detector, picture, weights)
    crop = crop_found(detector(picture) if detector else None, clip.choice, picture.shape[:2])
    if crop is None:
        raise FaceError(
            "no face in the reference picture: give --reference-box, --reference-crop, another --detector, or "
            "--detector none"
        )
    return crop
