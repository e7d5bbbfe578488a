"""The squares and pictures that HunyuanPortrait cuts out of a frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ...media.picture import Picture
from .types import READ_SIDE, Square

FivePoints = NDArray[np.floating]  # [5, 2] x, y of two eyes, nose, two mouth corners
Bounds = tuple[float, float, float, float]  # left, top, right, bottom in pixels

ARCFACE_SIDE = 112
# InsightFace's template for 96x112 pixels, 8 pixels further to the right.
_TEMPLATE = (
    (38.2946, 51.6963),
    (73.5318, 51.5014),
    (56.0252, 71.7366),
    (41.5493, 92.3655),
    (70.7299, 92.2041),
)
_TOWARDS_BOX = 0.45  # part of the way that each bound of the points is moved towards the same side of the face's box


def portrait_square(box: Bounds, width: int, height: int) -> Square:
    """The square around a face's `box` in a picture: thrice the box, or less where the picture ends."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    grown = (max(left - wide, 0.0), max(top - high, 0.0), min(right + wide, width), min(bottom + high, height))
    side = min(grown[2] - grown[0], grown[3] - grown[1])
    x = _placed((grown[0], grown[2]), (left + right) / 2, side)
    y = _placed((grown[1], grown[3]), (top + bottom) / 2, side)
    return round(x), round(y), round(x + side), round(y + side)


def _placed(bounds: tuple[float, float], wanted: float, side: float) -> float:
    """Where a span of `side` in `bounds` begins whose centre is as near as possible to `wanted`."""
    return min(max(wanted - side / 2, bounds[0]), bounds[1] - side)


def square_picture(picture: Picture, square: Square, side: int) -> Picture:
    """[side, side, 3]: the square of a `picture` [H, W, 3], by Pillow's bicubic filter."""
    return np.asarray(Image.fromarray(_cut(picture, square)).resize((side, side)))


def head_picture(picture: Picture, square: Square, side: int) -> Picture:
    """[256, 256, 3], what the head's pose is read from; resized to `side` first, as the published program does."""
    whole = Image.fromarray(square_picture(picture, square, side))
    return np.asarray(whole.resize((READ_SIDE, READ_SIDE), Image.Resampling.BILINEAR))


def face_picture(picture: Picture, points: FivePoints, box: Bounds) -> Picture:
    """[256, 256, 3], what the expression is read from: around this frame's `points`, and the first frame's `box`."""
    found = (*points.min(0).tolist(), *points.max(0).tolist())
    left, top, right, bottom = (a + _TOWARDS_BOX * (b - a) for a, b in zip(found, box, strict=True))
    x, y, half = int((left + right) / 2), int((top + bottom) / 2), max(int(max(right - left, bottom - top)) // 2, 1)
    cut = _cut(picture, (x - half, y - half, x + half, y + half))
    return np.asarray(Image.fromarray(cut).resize((READ_SIDE, READ_SIDE), Image.Resampling.BILINEAR))


def arcface_picture(picture: Picture, points: FivePoints) -> NDArray[np.float32]:
    """[112, 112, 3] in [0, 1]: the face, placed so that its `points` lie on the template's; black outside."""
    matrix = similarity(points, np.array(_TEMPLATE))
    y, x = np.mgrid[:ARCFACE_SIDE, :ARCFACE_SIDE].astype(np.float64)
    places = (np.stack([x, y], -1) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T  # where each pixel comes from
    return bilinear(picture.astype(np.float64) / 255, places).astype(np.float32)


def bilinear(picture: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The values [..., C] of a picture [H, W, C] at `places` [..., 2] (x, y); black outside.

    In full precision: OpenCV reads at 32nds of a pixel.
    """
    edged = np.pad(picture, ((1, 1), (1, 1), (0, 0)))
    limit = np.array([edged.shape[1] - 1, edged.shape[0] - 1])
    within = np.clip(places + 1, 0, limit)
    low = np.minimum(within.astype(int), limit - 1)
    right, down = np.split(within - low, 2, -1)
    x, y = low[..., 0], low[..., 1]
    above = edged[y, x] * (1 - right) + edged[y, x + 1] * right
    below = edged[y + 1, x] * (1 - right) + edged[y + 1, x + 1] * right
    return np.asarray(above * (1 - down) + below * down, np.float64)


def similarity(points: FivePoints, targets: FivePoints) -> NDArray[np.float64]:
    """[2, 3]: the rotation, scale and shift that bring `points` [N, 2] nearest to `targets`, by least squares."""
    before, after = (part[:, 0] + 1j * part[:, 1] for part in (points, targets))  # a turn is a product there
    own, goal = before - before.mean(), after - after.mean()
    spread = float((abs(own) ** 2).sum())
    turn = (own.conj() * goal).sum() / spread if spread else 1.0
    shift = after.mean() - turn * before.mean()
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]], np.float64)


def _cut(picture: Picture, square: Square) -> Picture:
    """The square's pixels; black outside the picture."""
    left, top, right, bottom = square
    height, width = picture.shape[:2]
    if left >= 0 and top >= 0 and right <= width and bottom <= height:
        return picture[top:bottom, left:right]
    cut = np.zeros((bottom - top, right - left, 3), np.uint8)
    x, y, end_x, end_y = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    if x < end_x and y < end_y:
        cut[y - top : end_y - top, x - left : end_x - left] = picture[y:end_y, x:end_x]
    return cut
