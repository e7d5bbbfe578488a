"""Crops of LivePortrait: rotated squares around a face, placed by landmarks of any known layout."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...media.picture import Picture

CropMatrix = NDArray[np.float64]

SIDE = 512  # pixels of a crop, and of an animated picture
# By the number of landmarks: points of one eye, of the other, and of the mouth, between which the face's axis runs.
AXIS_POINTS = {
    203: ((0, 6, 12, 18), (24, 30, 36, 42), (48, 66)),
    106: ((33, 35, 40, 39), (87, 89, 94, 93), (52, 61)),
    101: ((39, 42, 45, 48), (51, 54, 57, 60), (75, 81)),
    68: ((36, 39), (42, 45), (48, 54)),
    9: ((2, 3), (0, 1), (5, 6)),  # an animal's
    5: ((0,), (1,), (3, 4)),
    478: ((468,), (473,), (14,)),  # MediaPipe's
}
_NO_AXIS = 1e-3  # pixels between eyes and mouth below which the face counts as upright


@dataclass(frozen=True)
class CropRule:
    """How a square is placed around landmarks. Raises InputError unless the scale is above 0 and all is finite."""

    scale: float  # side of the square in larger extents of the landmarks
    right: float = 0.0  # how far its centre moves along the face's own horizontal axis, in sides
    down: float = 0.0  # likewise along the vertical axis
    side: int = SIDE  # pixels of the crop
    rotated: bool = True  # upright in the crop; False: as it lies in the picture

    def __post_init__(self) -> None:
        if not (self.scale > 0 and math.isfinite(self.scale + self.right + self.down)):
            raise InputError(f"the crop's scale must be above 0 and finite, got {self}: try 2.3")


SOURCE_CROP = CropRule(2.3, down=-0.125)
EDITOR_CROP = CropRule(2.5, down=-0.125)  # of the pages that edit expressions
DRIVING_CROP = CropRule(2.2, down=-0.1, rotated=False)


@dataclass(frozen=True)
class FaceSquare:
    """A square in the picture around landmarks."""

    centre: tuple[float, float]  # x, y in pixels
    size: float  # pixels
    angle: float  # radians by which it is turned

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the square as if it were upright."""
        (x, y), half = self.centre, self.size / 2
        return x - half, y - half, x + half, y + half


def face_axis(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """The unit vector from the eyes to the mouth of landmarks [N, 2]; down where both are in one place.

    Raises InputError for a number of landmarks that is not known.
    """
    if len(points) not in AXIS_POINTS:
        known = ", ".join(str(count) for count in sorted(AXIS_POINTS))
        raise InputError(f"faces are cropped by {known} landmarks, got {len(points)}: give one of these layouts")
    points = np.asarray(points, np.float32)
    eye, other, mouth = (points[list(part)].mean(0) for part in AXIS_POINTS[len(points)])
    down = mouth - (eye + other) / 2
    length = float(np.linalg.norm(down))
    return np.asarray(down / np.float32(length) if length > _NO_AXIS else (0, 1), np.float32)


def face_square(points: NDArray[np.floating], rule: CropRule) -> FaceSquare:
    """The square that `rule` places around landmarks [N, 2]. Raises InputError as `face_axis` does.

    Computed in float32 as the published code does: pixels are read at 32nds, and a last bit can move some to the next.
    """
    down = face_axis(points)
    axes = np.array([[down[1], -down[0]], down])  # right, down of the face
    points = np.asarray(points, np.float32)
    middle = points.mean(0)
    along = (points - middle) @ axes.T
    least, most = along.min(0), along.max(0)
    size = (most - least).max() * np.float32(rule.scale)
    if not size > 0:
        raise InputError(f"all {len(points)} landmarks lie in one place: give those of a face")
    centre = middle + ((least + most) / 2 + size * np.array([rule.right, rule.down], np.float32)) @ axes
    return FaceSquare((float(centre[0]), float(centre[1])), float(size), math.atan2(axes[0, 1], axes[0, 0]))


def crop_matrix(square: FaceSquare, side: int, rotated: bool = True) -> CropMatrix:
    """[3, 3], from pixels of the picture to pixels of the crop, `side` wide; computed in float32, as `face_square`."""
    angle = square.angle if rotated else 0.0
    scale, cosine, sine = (np.float32(value) for value in (side / square.size, math.cos(angle), math.sin(angle)))
    x, y = (np.float32(value) for value in square.centre)
    middle = np.float32(side / 2)
    return np.array(
        [
            [scale * cosine, scale * sine, middle - scale * (cosine * x + sine * y)],
            [-scale * sine, scale * cosine, middle - scale * (-sine * x + cosine * y)],
            [0, 0, 1],
        ],
        np.float64,
    )


def landmark_matrix(points: NDArray[np.floating], rule: CropRule) -> CropMatrix:
    """[3, 3], from pixels of the picture to those of the crop that `rule` places around landmarks [N, 2]."""
    return crop_matrix(face_square(points, rule), rule.side, rule.rotated)


def driving_square(boxes: Sequence[Sequence[float]]) -> FaceSquare:
    """One upright square for a whole driving clip: the mean of its frames' boxes (left, top, right, bottom)."""
    left, top, right, bottom = np.mean(np.asarray(boxes, np.float64), 0)
    return FaceSquare((float(left + right) / 2, float(top + bottom) / 2), float(right - left), 0.0)


def transformed(points: NDArray[np.floating], matrix: NDArray[np.floating]) -> CropMatrix:
    """Points [N, 2] moved by a matrix [3, 3]."""
    moved: CropMatrix = np.asarray(points, np.float64) @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def warped(picture: Picture, matrix: CropMatrix, width: int, height: int) -> Picture:
    """`picture` [H, W, ...] moved into [height, width, ...]: bilinear, black outside, pixel centres at integers."""
    import cv2

    return np.asarray(cv2.warpAffine(picture, matrix[:2], (width, height), flags=cv2.INTER_LINEAR), np.uint8)


def halved(crop: Picture) -> Picture:
    """A crop [H, W, 3] of half the sides, each pixel the mean of four."""
    import cv2

    return np.asarray(
        cv2.resize(crop, (crop.shape[1] // 2, crop.shape[0] // 2), interpolation=cv2.INTER_AREA), np.uint8
    )


def resized_bilinear(picture: Picture, width: int, height: int) -> Picture:
    """A picture [H, W, 3] at another size, bilinear without antialiasing, as LivePortrait resizes."""
    import cv2

    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def limited_size(width: int, height: int, limit: int = 1280) -> tuple[int, int, int, int]:
    """Width and height to resize a source picture to, and those to cut it to: its long side at most `limit`, all even.

    A limit of 0 leaves the picture as large as it is.
    """
    longest = max(width, height)
    if limit and longest > limit:
        width, height = (limit if side == longest else int(side * (limit / longest)) for side in (width, height))
    return width, height, width - width % 2, height - height % 2


def limited_scale(width: int, height: int, limit: int = 1280) -> float:
    """By how much `limited` resizes a picture of this width and height; what it cuts away does not count."""
    wide, high, *_ = limited_size(width, height, limit)
    return max(wide, high) / max(width, height)


def limited(picture: Picture, limit: int = 1280) -> Picture:
    """A source picture [H, W, 3] within `limited_size`."""
    height, width = picture.shape[:2]
    wide, high, cut_width, cut_height = limited_size(width, height, limit)
    if (wide, high) != (width, height):
        picture = resized_bilinear(picture, wide, high)
    return picture[:cut_height, :cut_width]
