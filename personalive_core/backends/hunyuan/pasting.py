"""Pastes an animated square back into its picture: as the other systems do, or as the published program does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError
from ...faces.crop import Crop
from ...faces.paste import PasteOptions, prepare_paste
from ...media.picture import Picture
from .types import HunyuanReference

# How a picture leaves: pasted with colours matched at the seam; pasted as published; the animated square alone.
PASTES = ("matched", "published", "square")
_RAMP = 0.1  # of the square's side, in which it fades out

Levels = NDArray[np.float32]  # [S, S, 3] in [0, 1]


def paster(reference: HunyuanReference, paste: str, side: int) -> Callable[[Levels], Picture]:
    """Makes a picture of each animated square [side, side, 3]. Raises InputError unless `paste` is one of PASTES."""
    if paste not in PASTES:
        raise InputError(f"a picture is pasted by one of {', '.join(PASTES)}, got {paste!r}: use one of these")
    left, top, right, bottom = reference.square
    if paste == "published":
        return PublishedPaste(reference.picture, (slice(top, bottom), slice(left, right)))
    if paste == "square":
        return eight_bit
    crop = Crop.around(((left + right) / 2, (top + bottom) / 2), (right - left + bottom - top) / 2)
    pasted = prepare_paste(reference.picture, crop, side, PasteOptions(_RAMP))
    return lambda levels: pasted(eight_bit(levels))


def eight_bit(levels: Levels) -> Picture:
    """Levels in [0, 1] -> uint8, rounded."""
    return np.asarray((levels * 255).round().clip(0, 255), np.uint8)


@dataclass(frozen=True, eq=False)
class PublishedPaste:
    """Cuts to 8 bits, resizes, blends by the product of linear ramps over a tenth of each side, and cuts again."""

    original: Picture  # [H, W, 3]
    place: tuple[slice, slice]  # rows and columns of the square

    def __call__(self, levels: Levels) -> Picture:
        """A copy of the original with the square [S, S, 3] in [0, 1] in its place."""
        import cv2

        result = self.original.copy()
        region = result[self.place]
        height, width = region.shape[:2]
        cut = (levels * 255).astype(np.uint8)
        moved = cv2.resize(cut, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.float64) / 255
        mask = np.outer(_ramp(height), _ramp(width))[:, :, None]
        blended = mask * moved + (1 - mask) * (region.astype(np.float64) / 255)
        region[...] = (blended * 255).clip(0, 255).astype(np.uint8)
        return result


def _ramp(count: int) -> NDArray[np.float64]:
    """[count]: 0 at the first and the last pixel, 1 inside."""
    wide = max(int(count * _RAMP), 1)
    ramp = np.ones(count, np.float64)
    ramp[:wide] = np.linspace(0, 1, wide)
    ramp[-wide:] = np.linspace(1, 0, wide)
    return ramp
