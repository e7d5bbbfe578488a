"""Changes of the driving crop that leave its expression: what the motion signal must not carry is made unreliable."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .data import normal

COLOUR, SCALE, SHIFT, TURN, WARP = 0.15, 0.06, 0.03, 0.08, 0.012  # standard deviations; turn in radians
WARP_GRID = 4  # points a side of the smooth warp


def augment(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Pictures [N, 3, H, W] in [-1, 1]: colours mixed, then scaled, shifted, turned and warped; strength 0 is as is.

    A function of `numbers`, for training alone (section 3.2: appearance must not leak through the driving crop).
    """
    if not strength:
        return pictures
    return warp(recolour(pictures, strength, *numbers, 0), strength, *numbers, 1)


def recolour(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Each picture through its own random colour matrix and offset."""
    count = len(pictures)
    matrix = torch.eye(3) + strength * COLOUR * normal((count, 3, 3), *numbers, 0)
    offset = strength * COLOUR * normal((count, 3, 1, 1), *numbers, 1)
    mixed = torch.einsum("nij,njhw->nihw", matrix.to(pictures), pictures) + offset.to(pictures)
    return mixed.clamp(-1, 1)


def warp(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Each picture through its own similarity and smooth warp; what comes from outside repeats the edge."""
    count = len(pictures)
    amounts = strength * normal((count, 4), *numbers, 0)
    scale, turn = torch.exp(SCALE * amounts[:, 0]), TURN * amounts[:, 1]
    cos, sin = scale * turn.cos(), scale * turn.sin()
    shift = math.sqrt(2) * SHIFT * amounts[:, 2:]
    theta = torch.stack([torch.stack([cos, -sin, shift[:, 0]], -1), torch.stack([sin, cos, shift[:, 1]], -1)], 1)
    grid = functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    bend = strength * WARP * normal((count, 2, WARP_GRID, WARP_GRID), *numbers, 1)
    bend = functional.interpolate(bend, size=pictures.shape[2:], mode="bicubic", align_corners=True)
    grid = grid + bend.permute(0, 2, 3, 1)
    return functional.grid_sample(pictures, grid.to(pictures), padding_mode="border", align_corners=False)
