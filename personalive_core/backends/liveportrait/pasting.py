"""Pastes an animated crop back into its picture, and rounds pictures to 8 bits, as LivePortrait does."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ...media.picture import Picture
from .crops import SIDE, warped

_BORDER = 16  # pixels at the crop's edge in which it fades out


def eight_bits(picture: NDArray[np.floating]) -> Picture:
    """Levels in [0, 1] of any shape -> uint8, truncated as LivePortrait does."""
    return np.asarray(255 * np.clip(picture, 0, 1), np.uint8)


@lru_cache(maxsize=1)
def paste_template() -> NDArray[np.uint8]:
    """[512, 512]: 255 in the crop's inside, falling to 0 at its edge by the distance from the inside."""
    place = np.arange(SIDE, dtype=np.float64)
    beyond = np.maximum(0, np.maximum(_BORDER - place, place - (SIDE - _BORDER)))
    left = np.clip(_BORDER - np.hypot(beyond[:, None], beyond), 0, _BORDER)
    template: NDArray[np.uint8] = np.asarray(np.floor(255 * left / _BORDER), np.uint8)
    template.setflags(write=False)
    return template


@dataclass(frozen=True, eq=False)
class LivePaste:
    """Pastes the pictures of one clip into one original; call it with each picture [512, 512, 3]."""

    original: Picture  # [H, W, 3]
    matrix: NDArray[np.float64]  # [3, 3], from pixels of the crop to pixels of the original
    mask: NDArray[np.float32]  # [H, W, 1] weight of the crop

    def __call__(self, picture: Picture) -> Picture:
        """A copy of the original with `picture` in place of the crop."""
        height, width = self.original.shape[:2]
        moved = warped(picture, self.matrix, width, height)
        return np.asarray(np.clip(self.mask * moved + (1 - self.mask) * self.original, 0, 255), np.uint8)


def prepare_live_paste(original: Picture, matrix: NDArray[np.float64]) -> LivePaste:
    """Prepares pasting into `original` [H, W, 3]; `matrix` [3, 3] goes from the crop to the original."""
    height, width = original.shape[:2]
    mask = warped(paste_template(), matrix, width, height).astype(np.float32) / np.float32(255)
    return LivePaste(original, matrix, mask[:, :, None])
