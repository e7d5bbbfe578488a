"""The reference picture: read, cropped to its face, prepared for pasting the result back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import FaceError, InputError
from ..faces.crop import PORTRAIT_EXPAND, Box, Crop, adjusted, crop_by_hand, crop_found, crop_image, square_around
from ..faces.detectors import used_detector
from ..faces.paste import PasteBack, PasteOptions, prepare_paste
from ..media.picture import Picture
from ..media.video import read_frames
from .driving import find_detector
from .engine import Engine


@dataclass(frozen=True)
class ReferenceFace:
    """How the face in the reference picture is found: by the user's crop, else around the user's box, else detected."""

    detector: str = "auto"  # auto: none for square pictures, yunet for others
    choice: str = "largest"  # of the detected faces, see `choose_face`
    box: Box | None = None  # the face, in pixels
    square: Box | None = None  # the crop itself, in pixels
    scale: float = 1.0  # of the crop's side, see `adjusted`


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


def open_portrait(path: Path, face: ReferenceFace, engine: Engine, paste: PasteOptions | None = None) -> Portrait:
    """Reads the reference picture at `path` and crops it to the head and shoulders around `face`, or to its square.

    Raises InputError for a bad file or box, FaceError if no face, or not the one asked for, is found, WeightsError if
    the detector's file is missing.
    """
    whole, size, detector = read_portrait(path), engine.size, "none"
    if face.square:
        crop = square_around(face.square)
    elif face.box:
        crop = crop_around(face.box, whole)
    else:
        crop, detector = found_crop(whole, face, engine.weights), used_detector(face.detector, whole)
    crop = adjusted(crop, whole.shape[:2], face.scale)
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


def found_crop(picture: Picture, face: ReferenceFace, weights: Path) -> Crop:
    """The square around the face that `face` detects and chooses in the reference `picture` [H, W, 3].

    Raises FaceError if it finds none, or not the one that is chosen; otherwise as `find_detector`.
    """
    detector = find_detector(face.detector, picture, weights)
    faces = detector(picture) if detector else None
    crop = crop_found(faces, face.choice, picture.shape[:2])
    if crop is None and faces:
        there = "1 was found: give --reference-face 0"
        if len(faces) > 1:
            there = f"{len(faces)} were found: give --reference-face 0 to {len(faces) - 1}"
        raise FaceError(
            f"there is no face number {face.choice} in the reference picture, {there}, or --reference-box with the "
            "face's box"
        )
    if crop is None:
        raise FaceError(
            "no face in the reference picture: give --reference-box, --reference-crop, another --detector, or "
            "--detector none"
        )
    return crop
