"""How strongly the head and the expression move in a group of driving frames, from five points of the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...modules.motion_resampler import LEVELS

_NOSE = 2  # of the five points
_FACE_SCALE, _HEAD_SCALE = 1024, 256


def intensities(points: NDArray[np.floating]) -> tuple[int, int]:
    """Levels 0 to 127 of the head's and of the expression's movement in F frames with `points` [F, 5, 2].

    (0, 0) without a frame, and for points that lie in one place.
    """
    if not len(points):
        return 0, 0
    nose = points[:, _NOSE]
    relative = points - nose[:, None]
    size = float(np.hypot(*np.ptp(relative[0], axis=0)))
    if not size:
        return 0, 0
    face = np.linalg.norm(relative - relative.mean(0), axis=-1).mean() / size * _FACE_SCALE
    head = np.linalg.norm(nose - nose.mean(0), axis=-1).mean() / size * _HEAD_SCALE
    return _level(head), _level(face)


def _level(value: float) -> int:
    return min(max(int(value), 0), LEVELS - 1)
