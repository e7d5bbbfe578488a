"""Augments driving crops but keeps the expression, so that the facial embedding cannot rely on appearance."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from .data import normal

# standard deviations: SCALE of ln(size), SHIFT in picture sides, TURN in radians, WARP in half picture sides
COLOUR, SCALE, SHIFT, TURN, WARP = 0.15, 0.06, 0.03, 0.08, 0.012
WARP_GRID = 4  # control points per side of the smooth warp


def augment(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Recolours pictures [N, 3, H, W] in [-1, 1], then scales, shifts, rotates and warps them; strength 0: no change.

    Depends on `numbers` alone. For training only (section 3.2: appearance must not leak through the driving crop).
    """
    if not strength:
        return pictures
    return warp(recolour(pictures, strength, *numbers, 0), strength, *numbers, 1)


def recolour(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Applies a random colour matrix and offset to each picture [N, 3, H, W], and clamps it to [-1, 1]."""
    count = len(pictures)
    matrix = torch.eye(3) + strength * COLOUR * normal((count, 3, 3), *numbers, 0)
    offset = strength * COLOUR * normal((count, 3, 1, 1), *numbers, 1)
    mixed = torch.einsum("nij,njhw->nihw", matrix.to(pictures), pictures) + offset.to(pictures)
    return mixed.clamp(-1, 1)


def warp(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Applies a random similarity transform and smooth warp to each picture [N, 3, H, W], with edge padding."""
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
