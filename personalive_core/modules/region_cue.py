"""Region cue: pixels of eyes, nose and mouth, cut in the face's own frames and drawn where another face has them."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..faces.regions import MASK_REGIONS, SOFT_EDGE, region_centres, region_frames, softness
from ..motion.types import CUE_SIDE

CUE_STEPS = 127  # int8 values from 0 (hidden) to 1 (white)
_REACH = 1 + SOFT_EDGE  # a cut spans -_REACH .. _REACH of a region's frame
_LEAST = 1e-6  # where no region is, no weight is divided by


def cut_regions(pictures: Tensor, keypoints: Tensor, shown: Tensor) -> Tensor:
    """Cues [F, 4, 3, CUE_SIDE, CUE_SIDE] int8 of `pictures` [F, 3, S, S] in [-1, 1] with a face at `keypoints`.

    `keypoints` are [F, 21, 3] in [-1, 1] of the picture. Zero, which is grey, hides: what is outside the ellipses or
    the picture, and everything in frames whose `shown` [F] is False. The cut turns and grows with the head, so that it
    holds neither its pose nor the shape of the face around the regions.
    """
    axis = ((torch.arange(CUE_SIDE, device=pictures.device) * 2 + 1) / CUE_SIDE - 1) * _REACH
    inside = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1).flatten(0, 1)
    places = region_frames(region_centres(keypoints.to(pictures))).placed(inside.to(pictures))
    cuts = functional.grid_sample(pictures, places, padding_mode="zeros", align_corners=False)  # [F, 3, 4, P]
    seen = (softness(inside) > 0) & shown.to(pictures.device)[:, None, None, None]
    cuts = torch.where(seen, cuts.clamp(-1, 1), 0)
    return (cuts * CUE_STEPS).round().to(torch.int8).transpose(1, 2).unflatten(-1, (CUE_SIDE, CUE_SIDE)).contiguous()


def draw_regions(cue: Tensor, keypoints: Tensor, size: int) -> Tensor:
    """Cues [F, 4, 3, P, P], as `cut_regions` makes them, at `keypoints` [F, 21, 3] -> [F, 3, size, size] in [-1, 1].

    The regions have the places and proportions of the face that has these keypoints. Zero outside the soft ellipses;
    where two overlap, the mean of both.
    """
    frames = region_frames(region_centres(keypoints.float()))
    pixels = cue.to(keypoints.device).float() / CUE_STEPS
    total, weights, most = keypoints.new_zeros(3, len(cue), 1, size, size, dtype=torch.float32)
    total = total.expand(-1, 3, -1, -1)
    for index in range(len(MASK_REGIONS)):
        inside = frames.inside(index, size)
        mask = softness(inside)[:, None]
        total = total + mask * functional.grid_sample(
            pixels[:, index], inside / _REACH, padding_mode="zeros", align_corners=False
        )
        weights, most = weights + mask, torch.maximum(most, mask)
    return total * most / weights.clamp(min=_LEAST)
