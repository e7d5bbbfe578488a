"""The reference picture: read, cropped to its face, prepared for pasting the result back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FaceError, InputError
from ..faces.crop import PORTRAIT_EXPAND, Box, Crop, crop_by_hand, crop_found, crop_image, square_around
from ..faces.detectors import used_detector
from ..faces.paste import PasteBack, PasteOptions, prepare_paste
from ..media.picture import Picture
from ..media.video import read_frames
from .driving import DrivingClip, find_detector
from .engine import Engine


@dataclass(frozen=True, eq=False)
class Portrait:
    """The part of the reference picture that is animated."""

    source: Picture  # [N, N, 3] the square crop; full resolution if it is larger than the networks' picture
    picture: Picture  # [S, S, 3] the same crop in the networks' size
    paste: PasteBack | None  # None: the result is the crop alone
    canvas: tuple[int, int]  # width, height of the result's pictures
    detector: str = "none"  # the face detector that found the crop


def read_portrait(path: Path) -> Picture:
    """Reads a picture, or the first frame of a video: [H, W, 3] uint8. Raises InputError if it cannot be read."""
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
    """Reads the reference picture at `path` and crops it to `square`, or to the head and shoulders around `face`.

    If the user gave neither, the detector of the driving `clip` finds the face. Raises InputError for a bad file or
    box, FaceError if no face is found, WeightsError if the detector's file is missing.
    """
    whole, size, detector = read_portrait(path), engine.size, "none"
    if square:
        crop = square_around(square)
    elif face:
        crop = crop_around(face, whole)
    else:
        crop, detector = found_crop(whole, clip, engine.weights), used_detector(clip.detector, whole)
    picture = crop_image(whole, crop, size)
    # full resolution: the picture is resized only once, for each network's own input size
    source = crop_image(whole, crop, round(crop.size)) if crop.size > size else picture
    paste_back = prepare_paste(whole, crop, size, paste) if paste else None
    height, width = whole.shape[:2] if paste_back else (size, size)
    return Portrait(source, picture, paste_back, (width, height), detector)


def crop_around(face: Box, picture: Picture) -> Crop:
    """The head-and-shoulders square around the user's `face` box in the reference `picture` [H, W, 3].

    Raises InputError if the square does not fit. The option used to mean the square itself: such a box is too large.
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
    """The square around the face that the detector of `clip` finds in the reference `picture` [H, W, 3].

    Raises FaceError if it finds none; otherwise as `find_detector`.
    """
    detector = find_detector(clip.detector, picture, weights)
    crop = crop_found(detector(picture) if detector else None, clip.choice, picture.shape[:2])
    if crop is None:
        raise FaceError(
            "no face in the reference picture: give --reference-box, --reference-crop, another --detector, or "
            "--detector none"
        )
    return crop
