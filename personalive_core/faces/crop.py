"""Faces in a frame, the choice of one of them, and the square crops that the networks take."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from ..errors import InputError
from ..media.picture import Picture

FrameSize = tuple[int, int]  # height, width in pixels, as in `picture.shape[:2]`

# Measured on 512x512 head-and-shoulders pictures of the kind the networks expect. The face takes 0.56 to 0.58 of the
# side; 1 / 1.8 = 0.55 leaves a little room to move. The face's centre is 0.05 of the side above the picture's centre.
PORTRAIT_EXPAND = 1.8
PORTRAIT_DROP = 0.05


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the frame; x runs from `left` to `right`, y from `top` to `bottom`.

    Raises InputError unless right > left and bottom > top.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not (self.right > self.left and self.bottom > self.top):
            raise InputError(
                f"a box is left, top, right, bottom in pixels with right > left and bottom > top, got "
                f"{self.left:g}, {self.top:g}, {self.right:g}, {self.bottom:g}: correct the order or the numbers"
            )

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def side(self) -> float:
        """The longer of width and height, which changes less than the shorter one when the head turns."""
        return max(self.width, self.height)

    @property
    def area(self) -> float:
        return self.width * self.height

    @property
    def centre(self) -> tuple[float, float]:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def moved(self, x: float, y: float) -> Box:
        return Box(self.left + x, self.top + y, self.right + x, self.bottom + y)


class Face(NamedTuple):
    """One detection; compare `score` only with scores of the same detector."""

    box: Box
    score: float
    points: tuple[tuple[float, float], ...] | None = None  # x, y of two eyes, nose, two mouth corners, if it says them


class FaceDetector(Protocol):
    """Finds the faces of a picture [H, W, 3] uint8 RGB: any number of them, in any order."""

    def __call__(self, image: Picture) -> tuple[Face, ...]: ...


@dataclass(frozen=True)
class Crop:
    """A square in pixels of the frame, with sub-pixel precision; it may extend beyond the frame.

    Raises InputError unless `size` is more than one pixel and all numbers are finite.
    """

    left: float
    top: float
    size: float

    def __post_init__(self) -> None:
        if not (self.size > 1 and math.isfinite(self.left + self.top + self.size)):
            raise InputError(f"a crop is a square of more than one pixel, got {self}: choose a larger box")

    @property
    def centre(self) -> tuple[float, float]:
        return self.left + self.size / 2, self.top + self.size / 2

    @classmethod
    def around(cls, centre: tuple[float, float], size: float) -> Crop:
        return cls(centre[0] - size / 2, centre[1] - size / 2, size)


def face_distance(box: Box, previous: Box) -> float:
    """Distance between two boxes: from centre to centre in sides of `previous`, plus |ln(ratio of the sides)|."""
    (x, y), (previous_x, previous_y) = box.centre, previous.centre
    return math.hypot(x - previous_x, y - previous_y) / previous.side + abs(math.log(box.side / previous.side))


def choose_face(faces: Sequence[Face], choice: str, previous: Box | None) -> Face | None:
    """The face that `choice` selects, or None if it is not among `faces`.

    "largest": by area. "left": the leftmost. "0", "1", "2" ...: the index from left to right, by centre; "0" is "left".
    "nearest": the smallest `face_distance` from `previous`; without a `previous`, the largest. Raises InputError for
    any other choice.
    """
    if choice not in {"largest", "left", "nearest"} and not choice.isdecimal():
        raise InputError(
            f"the face to follow is 'largest', 'left', 'nearest' or a number counted from the left, starting at 0, "
            f"got {choice!r}: use one of these"
        )
    if not faces:
        return None
    if choice == "nearest" and previous is not None:
        return min(faces, key=lambda face: face_distance(face.box, previous))
    if choice in {"largest", "nearest"}:
        return max(faces, key=lambda face: face.box.area)
    place = 0 if choice == "left" else int(choice)
    ordered = sorted(faces, key=lambda face: face.box.centre)
    return ordered[place] if place < len(ordered) else None


def whole_frame(frame_size: FrameSize) -> Crop:
    """The largest centred square of the frame: all of a square frame."""
    height, width = frame_size
    side = min(height, width)
    return Crop((width - side) // 2, (height - side) // 2, side)


def square_around(box: Box) -> Crop:
    """The square with the box's centre and its longer side: the crop for a box that the user gave."""
    return Crop.around(box.centre, box.side)


def portrait_crop(face: Box, frame_size: FrameSize, expand: float = PORTRAIT_EXPAND) -> Crop:
    """The head-and-shoulders square around a face: `expand` face sides wide, its centre a little below the face's.

    The square is at most as large as the frame's shorter side, and wholly inside the frame: for the networks, real
    pixels are better than a well-centred face with repeated edge pixels. Raises InputError for expand < 1.
    """
    if expand < 1:
        raise InputError(f"the crop must hold the whole face, so expand is 1 or more, got {expand:g}: try 1.8")
    height, width = frame_size
    size = min(expand * face.side, height, width)
    x, y = face.centre
    left = min(max(x - size / 2, 0.0), width - size)
    top = min(max(y + PORTRAIT_DROP * size - size / 2, 0.0), height - size)
    return Crop(left, top, size)


def crop_found(faces: Sequence[Face] | None, choice: str, frame_size: FrameSize) -> Crop | None:
    """The head-and-shoulders square around the face that `choose_face` selects; None if it is not among `faces`.

    If faces were not detected at all (`faces` is None), the crop is `whole_frame`. Raises InputError for an unknown
    choice.
    """
    if faces is None:
        return whole_frame(frame_size)
    face = choose_face(faces, choice, None)
    return None if face is None else portrait_crop(face.box, frame_size)


def crop_by_hand(face: Box, frame_size: FrameSize, name: str) -> Crop:
    """The head-and-shoulders square around a `face` that the user gave; error messages call the box `name`.

    Raises InputError if the box is outside the frame.
    """
    height, width = frame_size
    if face.left >= width or face.top >= height or face.right <= 0 or face.bottom <= 0:
        raise InputError(f"{name} lies outside the {width}x{height} picture: choose a face in it, or clear it")
    return portrait_crop(face, frame_size)


def adjusted(crop: Crop, frame_size: FrameSize, scale: float = 1.0, x: float = 0.0, y: float = 0.0) -> Crop:
    """The crop `scale` times as large around its centre, then moved right and down by `x` and `y` of its new side.

    It is at most as large as the frame's shorter side, and wholly inside the frame. With the defaults it is `crop`
    itself. Raises InputError unless scale is above 0 and all numbers are finite.
    """
    if not (scale > 0 and math.isfinite(scale + x + y)):
        raise InputError(f"the crop's scale must be above 0, got {scale:g}, moved by {x:g}, {y:g}: use 1, 0, 0")
    if (scale, x, y) == (1, 0, 0):
        return crop
    height, width = frame_size
    size = min(scale * crop.size, height, width)
    centre = crop.centre[0] + x * size, crop.centre[1] + y * size
    moved = Crop.around(centre, size)
    return Crop(min(max(moved.left, 0.0), width - size), min(max(moved.top, 0.0), height - size), size)


def check_picture(image: Picture) -> None:
    """Raises InputError unless `image` is [H, W, 3] uint8 with at least one pixel."""
    if image.dtype != np.uint8 or image.shape[2:] != (3,) or image.size == 0:
        came = f"{image.dtype} {list(image.shape)}"
        raise InputError(f"a picture is [height, width, 3] uint8 RGB, got {came}: convert it")


@dataclass(frozen=True, eq=False)
class Patch:
    """The pixels of a frame that a crop touches, and where the crop lies in them."""

    pixels: Picture  # [H, W, 3], a copy; outside the frame, its edge pixels are repeated
    box: tuple[float, float, float, float]  # left, top, right, bottom of the crop in pixels of the patch

    def is_whole(self, size: int) -> bool:
        """True if the crop is the patch itself, `size` pixels a side."""
        return self.pixels.shape[:2] == (size, size) and self.box == (0, 0, size, size)

    def resized(self, size: int) -> Picture:
        """The crop as [size, size, 3], antialiased; unchanged if it has that size."""
        if self.is_whole(size):
            return self.pixels
        return np.asarray(Image.fromarray(self.pixels).resize((size, size), Image.Resampling.BICUBIC, self.box))


def crop_image(image: Picture, crop: Crop, size: int) -> Picture:
    """The crop's square of `image` [H, W, 3] as [size, size, 3], antialiased.

    If the crop is on whole pixels and `size` pixels wide, the result is bit-identical to the frame's pixels. Outside
    the frame, its edge pixels are repeated. Raises InputError if the crop does not touch the frame, or `image` is no
    uint8 RGB picture.
    """
    return cut_patch(image, crop).resized(size)


def cut_patch(image: Picture, crop: Crop) -> Patch:
    """The pixels of `image` [H, W, 3] that `crop` touches. Raises InputError as `crop_image` does."""
    check_picture(image)
    height, width = image.shape[:2]
    right, bottom = crop.left + crop.size, crop.top + crop.size
    if crop.left >= width or crop.top >= height or right <= 0 or bottom <= 0:
        raise InputError(f"the crop {crop} lies outside the {width}x{height} frame: choose a box inside it")
    x, y = math.floor(crop.left), math.floor(crop.top)
    end_x, end_y = math.ceil(right), math.ceil(bottom)
    # Rounding may put the far corner slightly outside the patch, which Pillow rejects.
    box = (crop.left - x, crop.top - y, min(right - x, end_x - x), min(bottom - y, end_y - y))
    if x >= 0 and y >= 0 and end_x <= width and end_y <= height:
        return Patch(image[y:end_y, x:end_x].copy(), box)
    columns, rows = np.arange(x, end_x).clip(0, width - 1), np.arange(y, end_y).clip(0, height - 1)
    return Patch(image[np.ix_(rows, columns)], box)
