"""Pose guider (section 3.2): draws the 3-D implicit keypoints and encodes the drawing for the denoising UNet."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import Ops

DRAWN = (1, 2, 3, 4, 12, 15, 20)  # the 7 of 21 keypoints that are drawn; together they bound the face
COLOURS = (
    (1.0, 0.0, 0.0),
    (1.0, 1.0, 0.0),
    (0.0, 1.0, 0.0),
    (0.0, 1.0, 1.0),
    (0.0, 0.0, 1.0),
    (1.0, 0.0, 1.0),
    (1.0, 0.0, 85 / 255),
)
PATCH = 8  # pixels a side of what one latent pixel stands for
RADIUS = 4 / 512  # radius of a drawn keypoint, as a part of the picture's width


def canvas_points(keypoints: Tensor, size: int) -> Tensor:
    """Canvas positions [F, 7, 2] (column, row) of the drawn keypoints, as integer pixels.

    `keypoints` is [F, 21, 3] in [-1, 1] of the picture; the canvas is `size` x `size` pixels.
    """
    drawn, _ = _constants(keypoints.device)
    return ((keypoints.index_select(1, drawn)[..., :2] * 0.5 + 0.5) * size).long()


def draw_keypoints(keypoints: Tensor, size: int) -> Tensor:
    """Keypoints [F, 21, 3] -> [F, 3, size, size] in [0, 1]: coloured discs on black; overlaps are added and clamped."""
    points = canvas_points(keypoints, size)[..., None, None]  # [F, 7, 2, 1, 1]
    axis = torch.arange(size, device=keypoints.device)
    inside = (points[:, :, 0] - axis) ** 2 + (points[:, :, 1] - axis[:, None]) ** 2 <= (RADIUS * size) ** 2
    _, colours = _constants(keypoints.device)
    return torch.einsum("fkhw,kc->fchw", inside.float(), colours).clamp(0, 1)


@lru_cache(maxsize=8)
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """`DRAWN` and `COLOURS` on `device`, made once: to make them there is a copy that waits for the device."""
    with torch.inference_mode(False):  # training uses the same tensors
        return torch.tensor(DRAWN, device=device), torch.tensor(COLOURS, device=device)


@dataclass(frozen=True)
class PoseGuiderConfig:
    """Shapes of the pose guider."""

    out_channels: int = 320  # channels of the denoising UNet's first layer
    widths: tuple[int, ...] = (16, 32, 96, 256)
    last: str = "conv_out_modify"  # name of the last layer in the checkpoint
    region_cue: bool = False  # a second input: pixels of eyes, nose and mouth (modules/region_cue.py)


class PoseGuider(nn.Module):
    """Drawn keypoints [N, 3, H, W] -> [N, C, H/8, W/8], added after the denoising UNet's first layer.

    With a region cue, `conv_regions` adds the drawn regions [N, 3, H, W] to its output: a linear code of each patch,
    much nearer to a latent than what the keypoints' layers make of it. Zeros in either add exactly nothing.
    """

    def __init__(self, config: PoseGuiderConfig = PoseGuiderConfig(), ops: Ops = nn) -> None:
        super().__init__()
        widths = config.widths
        self.config = config
        self.conv_in = ops.Conv2d(3, widths[0], 3, padding=1)
        if config.region_cue:
            self.conv_regions = ops.Conv2d(3, config.out_channels, PATCH, stride=PATCH, bias=False)
        self.blocks = nn.ModuleList()
        for narrow, wide in itertools.pairwise(widths):
            self.blocks.append(ops.Conv2d(narrow, narrow, 3, padding=1))
            self.blocks.append(ops.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.last = config.last
        self.add_module(config.last, ops.Conv2d(widths[-1], config.out_channels, 3, padding=1))

    def forward(self, drawing: Tensor, regions: Tensor | None = None) -> Tensor:
        x = functional.silu(self.conv_in(drawing))
        for block in self.blocks:
            x = functional.silu(block(x))
        pose = self.get_submodule(self.last)(x)
        return pose if regions is None else pose + self.conv_regions(regions)
