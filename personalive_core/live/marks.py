"""The visible mark on live results, which says that they are generated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ..media.label import badge, stamp
from .types import Made


def marked(frames: Sequence[Made]) -> tuple[Made, ...]:
    """The frames with the visible mark that says they are generated."""
    return tuple(replace(frame, picture=stamp(frame.picture, _badge(len(frame.picture)))) for frame in frames)


@lru_cache(maxsize=4)
def _badge(height: int) -> np.ndarray:
    return badge(height)
