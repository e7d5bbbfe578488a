"""A StyleGAN2-style discriminator (arXiv 1912.04958): residual blocks down to 4x4, minibatch deviation, one score."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

PIXELS_A_CHANNEL = 16  # picture pixels a side per channel of the first feature map
SMALLEST, DEVIATION_GROUP = 4, 4  # side of the last feature map; pictures per group of the minibatch deviation
LEAKY_SLOPE, LEAKY_GAIN = 0.2, math.sqrt(2)  # slope of the leaky ReLU; gain that keeps the variance through it


class Down(nn.Module):
    """Residual block of two convolutions that halves the resolution: [N, C, H, W] -> [N, D, H/2, W/2].

    With a `told` > 0 it takes a code [N, told] of the noise level, whose projection, zero at first, is added inside.
    """

    def __init__(self, channels_in: int, channels: int, told: int = 0) -> None:
        super().__init__()
        self.level = nn.Linear(told, channels_in) if told else None
        self.first = nn.Conv2d(channels_in, channels_in, 3, padding=1)
        self.second = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.shortcut = nn.Conv2d(channels_in, channels, 1, bias=False)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        inner = self.first(x)
        if self.level is not None and code is not None:
            inner = inner + self.level(code)[:, :, None, None]
        inner = LEAKY_GAIN * functional.leaky_relu(inner, LEAKY_SLOPE)
        inner = LEAKY_GAIN * functional.leaky_relu(functional.avg_pool2d(self.second(inner), 2), LEAKY_SLOPE)
        joined: Tensor = (inner + self.shortcut(functional.avg_pool2d(x, 2))) / math.sqrt(2)
        return joined


class Discriminator(nn.Module):
    """Pictures [N, 3, S, S] in [-1, 1] -> scores [N], high for real ones. `most` limits the channels.

    With `levels` > 0 it is also told the noise level [N] that each picture was predicted from, an index below `levels`.
    """

    def __init__(self, size: int, most: int = 512, levels: int = 0) -> None:
        super().__init__()
        width = max(size // PIXELS_A_CHANNEL, 1)
        self.levels = levels
        self.enter = nn.Conv2d(3, width, 1)
        self.blocks = nn.ModuleList()
        side = size
        while side > SMALLEST:
            wider = min(2 * width, most)
            self.blocks.append(Down(width, wider, levels))
            width, side = wider, side // 2
        self.join = nn.Conv2d(width + 1, width, 3, padding=1)
        self.hidden, self.score = nn.Linear(width * side * side, width), nn.Linear(width, 1)

    def forward(self, pictures: Tensor, level: Tensor | None = None) -> Tensor:
        code = None if level is None else functional.one_hot(level, self.levels).to(pictures)
        x = LEAKY_GAIN * functional.leaky_relu(self.enter(pictures), LEAKY_SLOPE)
        for block in self.blocks:
            x = block(x, code)
        x = torch.cat([x, minibatch_deviation(x)], 1)
        x = LEAKY_GAIN * functional.leaky_relu(self.join(x), LEAKY_SLOPE)
        x = LEAKY_GAIN * functional.leaky_relu(self.hidden(x.flatten(1)), LEAKY_SLOPE)
        score: Tensor = self.score(x)[:, 0]
        return score


@torch.no_grad()
def begin_unlevelled(critic: Discriminator) -> None:
    """Zero-initialises the projections of the noise level: at first the scores do not depend on it."""
    for block in critic.blocks:
        if isinstance(block, Down) and block.level is not None:
            block.level.weight.zero_()
            block.level.bias.zero_()


def minibatch_deviation(x: Tensor) -> Tensor:
    """[N, C, h, w] -> [N, 1, h, w]: standard deviation over the pictures of a group, averaged over all features."""
    count = len(x)
    group = max(size for size in range(1, DEVIATION_GROUP + 1) if count % size == 0)
    spread: Tensor = x.unflatten(0, (group, -1)).var(0, unbiased=False).add(1e-8).sqrt().mean((1, 2, 3))
    return spread.repeat(group)[:, None, None, None].expand(-1, 1, *x.shape[2:])
