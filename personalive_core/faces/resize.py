"""Resizes the crops of a window's frames to the networks' pictures: by Pillow on the CPU, in one call on a GPU."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ..device import upload
from ..media.tensors import signed, to_signed
from .crop import Patch

_SUPPORT = 2.0  # pixels on each side that Pillow's bicubic filter takes, of the smaller of the two pictures
_FIXED = 2.0**22  # Pillow's weights of 8-bit pictures are whole multiples of 1 / this


def resized_patches(patches: Sequence[Patch], size: int, device: torch.device) -> Tensor:
    """The crops of F patches as pictures [F, 3, size, size] in [-1, 1].

    For a CUDA `device` they are uploaded and resized there, without waiting: at most one of 255 levels from Pillow's
    result, and equal if nothing is to be resized. For any other, Pillow resizes them, and they stay on the CPU.
    """
    if device.type != "cuda":
        return to_signed(np.stack([patch.resized(size) for patch in patches]))
    pixels = upload(_side_by_side(patches, pinned=True), device)
    if all(patch.is_whole(size) for patch in patches):
        return signed(rearrange(pixels, "f h w c -> f c h w").float())
    return signed(
        resized_levels(pixels, [patch.box for patch in patches], [patch.pixels.shape for patch in patches], size)
    )


def resized_levels(
    pixels: Tensor, boxes: Sequence[tuple[float, ...]], shapes: Sequence[tuple[int, ...]], size: int
) -> Tensor:
    """The `boxes` of `pixels` [F, H, W, 3] uint8 -> levels [F, 3, size, size], float, as Pillow's bicubic `resize`.

    `shapes` are each picture's height and width inside H and W. Like Pillow it resizes rows first, and rounds to whole
    levels after each of the two passes.
    """
    height, width = pixels.shape[1:3]
    columns = [taps(box[0], box[2], shape[1], size) for box, shape in zip(boxes, shapes, strict=True)]
    rows = [taps(box[1], box[3], shape[0], size) for box, shape in zip(boxes, shapes, strict=True)]
    across, down = _matrix(columns, width, pixels.device), _matrix(rows, height, pixels.device)
    planes = rearrange(pixels, "f h w c -> f c h w").float()
    narrow = _whole_levels(planes @ across[:, None].mT)
    return _whole_levels(down[:, None] @ narrow)


def taps(start: float, end: float, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pillow's bicubic filter for S = `size` pixels between `start` and `end` of `count`: places and weights [S, K].

    Where a pixel takes fewer than K others, the weights of the rest are 0.
    """
    first, last = np.float32(start), np.float32(end)  # Pillow keeps a box in this precision
    scale = float(last - first) / size
    wide = max(scale, 1.0)
    support = _SUPPORT * wide
    centres = float(first) + (np.arange(size) + 0.5)[:, None] * scale
    low = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    high = np.minimum((centres + support + 0.5).astype(np.int64), count)
    places = low + np.arange(math.ceil(support) * 2 + 1)
    weights = np.where(places < high, _bicubic((places - centres + 0.5) / wide), 0.0)
    weights = np.rint(weights / weights.sum(1, keepdims=True) * _FIXED) / _FIXED
    return np.minimum(places, count - 1), weights.astype(np.float32)


def _bicubic(x: np.ndarray) -> np.ndarray:
    """The cubic kernel of a = -1/2 (Keys, "Cubic convolution interpolation for digital image processing", 1981)."""
    x = np.abs(x)
    near, far = (1.5 * x - 2.5) * x * x + 1, ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(x < 1, near, np.where(x < _SUPPORT, far, 0.0))


def _matrix(filters: Sequence[tuple[np.ndarray, np.ndarray]], count: int, device: torch.device) -> Tensor:
    """Filters of F pictures as matrices [F, S, count]."""
    most = max(places.shape[1] for places, _ in filters)
    padded = [[np.pad(part, ((0, 0), (0, most - part.shape[1]))) for part in pair] for pair in filters]
    places, weights = (upload(torch.from_numpy(np.stack(parts)), device) for parts in zip(*padded, strict=True))
    # places of weight 0 may come twice: to add 0 changes nothing, in whatever order
    return weights.new_zeros(*weights.shape[:2], count).scatter_add_(2, places, weights)


def _whole_levels(levels: Tensor) -> Tensor:
    return (levels + 0.5).floor().clamp(0, 255)


def _side_by_side(patches: Sequence[Patch], pinned: bool) -> Tensor:
    """The patches' pixels [F, H, W, 3] uint8, each in the upper left of the largest height and width."""
    height, width = (max(patch.pixels.shape[axis] for patch in patches) for axis in (0, 1))
    stacked = torch.empty((len(patches), height, width, 3), dtype=torch.uint8, pin_memory=pinned)
    for place, patch in zip(stacked.numpy(), patches, strict=True):
        place[: patch.pixels.shape[0], : patch.pixels.shape[1]] = patch.pixels
    return stacked
