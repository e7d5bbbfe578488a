"""Augments driving crops but keeps the expression, so that the facial embedding cannot rely on appearance."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .data import generator, normal

# standard deviations: SCALE of ln(size), SHIFT in picture sides, TURN in radians, WARP in half picture sides
COLOUR, SCALE, SHIFT, TURN, WARP = 0.15, 0.06, 0.03, 0.08, 0.012
WARP_GRID = 4  # control points per side of the smooth warp
# the published recipe: factors of brightness; range of contrast, saturation (factors) and hue (turns); largest stretch
# of a side; deviation of the moved nodes, in picture sides; deviation of the noise, of values in -1 .. 1
BRIGHTNESS, TINTING, STRETCH, PIECES, GRAIN = (0.3, 1.3), 0.3, 1.3, (0.02, 0.04), (0.025, 0.055)
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


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


def published(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """The published recipe's augmentation of face crops [N, 3, H, W] in [-1, 1]; a `strength` of 1 is its own.

    Colours, a stretch of width or height, a piecewise affine warp, and noise. Depends on `numbers` alone.
    """
    if not strength:
        return pictures
    draws = generator(*numbers, 2)
    bent = bend(pictures, strength, draws, *numbers)
    recoloured = jitter_colours(bent, strength, draws)
    deviation = torch.tensor(draws.uniform(*GRAIN, len(pictures))).to(pictures)[:, None, None, None]
    return (recoloured + strength * deviation * normal(pictures.shape, *numbers, 4).to(pictures)).clamp(-1, 1)


def bend(pictures: Tensor, strength: float, draws: np.random.Generator, *numbers: int) -> Tensor:
    """Stretches the width or the height of each picture by up to STRETCH, and moves the nodes of a coarse grid."""
    count = len(pictures)
    scale = torch.ones(count, 2)
    scale[torch.arange(count), torch.from_numpy(draws.integers(2, size=count))] = torch.tensor(
        1 / (1 + strength * (STRETCH - 1) * draws.random(count))
    ).float()
    theta = torch.cat([torch.diag_embed(scale), torch.zeros(count, 2, 1)], 2)
    grid = functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    amount = 2 * strength * torch.tensor(draws.uniform(*PIECES, count)).float()[:, None, None, None]
    nodes = amount * normal((count, 2, WARP_GRID, WARP_GRID), *numbers, 3)
    moved = functional.interpolate(nodes, size=pictures.shape[2:], mode="bilinear", align_corners=True)
    grid = (grid + moved.permute(0, 2, 3, 1)).to(pictures)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def jitter_colours(pictures: Tensor, strength: float, draws: np.random.Generator) -> Tensor:
    """Changes brightness, contrast, saturation and hue of each picture [N, 3, H, W] in [-1, 1], and clamps it."""

    def factors(low: float, high: float) -> Tensor:
        drawn = 1 + strength * (draws.uniform(low, high, len(pictures)) - 1)
        return torch.tensor(drawn).to(pictures)[:, None, None, None]

    x = ((pictures / 2 + 0.5) * factors(*BRIGHTNESS)).clamp(0, 1)
    grey = torch.tensor(LUMINANCE).to(x)[:, None, None]
    mean = (x * grey).sum(1, keepdim=True).mean((2, 3), keepdim=True)
    x = (mean + factors(1 - TINTING, 1 + TINTING) * (x - mean)).clamp(0, 1)
    light = (x * grey).sum(1, keepdim=True)
    x = (light + factors(1 - TINTING, 1 + TINTING) * (x - light)).clamp(0, 1)
    turns = torch.tensor(strength * draws.uniform(-TINTING, TINTING, len(pictures))).to(pictures)
    return (torch.einsum("nij,njhw->nihw", hue_turns(turns), x)).clamp(0, 1) * 2 - 1


def hue_turns(turns: Tensor) -> Tensor:
    """Matrices [N, 3, 3] that turn a colour about the axis of greys, by `turns` [N] whole turns."""
    cos, sin = (2 * math.pi * turns).cos(), (2 * math.pi * turns).sin() / math.sqrt(3)
    same = (cos + (1 - cos) / 3)[:, None, None] * torch.eye(3).to(turns)
    third = ((1 - cos) / 3)[:, None, None] * (1 - torch.eye(3)).to(turns)
    cross = torch.tensor([[0.0, -1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 1.0, 0.0]]).to(turns)
    return same + third + sin[:, None, None] * cross


AUGMENTATIONS = {"smooth": augment, "published": published}  # by the name of `Preset.jitter`
