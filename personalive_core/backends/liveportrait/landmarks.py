"""What the landmark networks take and give, and the openness of eyes and lips that is read from 203 landmarks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...media.picture import Picture
from .crops import CropRule, FaceSquare, crop_matrix, landmark_matrix, transformed, warped

Floats32 = NDArray[np.float32]

REFINED_LANDMARKS = 203
REFINED_CROP = CropRule(1.5, down=-0.1, side=224)  # what the network of 203 landmarks sees
_FIRST_SIDE, _FIRST_SCALE = 192, 1.5  # pixels; and longer sides of the face's box that the network of 106 sees
# Of 203 points: height between two, over width between two.
_EYES = (((6, 18), (0, 12)), ((30, 42), (24, 36)))
_LIPS = ((90, 102), (48, 66))
_NOT_ZERO = 1e-6


def refined_input(picture: Picture, points: NDArray[np.floating]) -> tuple[Floats32, NDArray[np.float64]]:
    """Input [1, 3, 224, 224] in [0, 1] of the network of 203 landmarks, and its crop's matrix [3, 3].

    `points` [N, 2] are landmarks of any known layout in the picture.
    """
    matrix = landmark_matrix(points, REFINED_CROP)
    crop = warped(picture, matrix, REFINED_CROP.side, REFINED_CROP.side)
    return _planes(crop) / np.float32(255), matrix


def refined_points(answer: NDArray[np.floating], matrix: NDArray[np.float64]) -> Floats32:
    """The network's answer [1, 406], x and y in parts of its input -> points [203, 2] in the picture."""
    return _back(answer.reshape(-1, 2).astype(np.float64) * REFINED_CROP.side, matrix)


def first_input(picture: Picture, box: tuple[float, float, float, float]) -> tuple[Floats32, NDArray[np.float64]]:
    """Input [1, 3, 192, 192] in [0, 255] of the network of 106 landmarks, and its crop's matrix, for a face's box."""
    left, top, right, bottom = box
    size = max(right - left, bottom - top) * _FIRST_SCALE
    matrix = crop_matrix(FaceSquare(((left + right) / 2, (top + bottom) / 2), size, 0.0), _FIRST_SIDE)
    return _planes(warped(picture, matrix, _FIRST_SIDE, _FIRST_SIDE)), matrix


def first_points(answer: NDArray[np.floating], matrix: NDArray[np.float64]) -> Floats32:
    """The network's answer [1, 212] in [-1, 1] of its input -> points [106, 2] in the picture."""
    return _back((answer.reshape(-1, 2).astype(np.float64) + 1) * (_FIRST_SIDE / 2), matrix)


def eye_openness(points: NDArray[np.floating]) -> Floats32:
    """203 landmarks -> openness of the picture's left and right eye [2]. Raises InputError for other layouts."""
    return np.array([_ratio(points, *eye) for eye in _EYES], np.float32)


def lip_openness(points: NDArray[np.floating]) -> Floats32:
    """203 landmarks -> openness of the lips [1]. Raises InputError for other layouts."""
    return np.array([_ratio(points, *_LIPS)], np.float32)


def _ratio(points: NDArray[np.floating], height: tuple[int, int], width: tuple[int, int]) -> float:
    if len(points) != REFINED_LANDMARKS:
        raise InputError(
            f"openness is read from {REFINED_LANDMARKS} landmarks, got {len(points)}: use the landmark network"
        )
    high, wide = (np.linalg.norm(points[a].astype(np.float64) - points[b]) for a, b in (height, width))
    return float(high / (wide + _NOT_ZERO))


def _planes(crop: Picture) -> Floats32:
    return np.ascontiguousarray(crop.transpose(2, 0, 1)[None], np.float32)


def _back(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> Floats32:
    return transformed(points, np.linalg.inv(matrix)).astype(np.float32)
