"""Appearance extractor of LivePortrait (arXiv 2407.03168): a picture as a feature volume."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from .conv_norm import PICTURES, VOLUMES, ChannelScale, ConvNorm, batch_norm
from .layers import Ops


@dataclass(frozen=True)
class AppearanceConfig:
    """Shapes of the appearance extractor."""

    widths: tuple[int, ...] = (64, 128, 256)  # channels of the picture's maps; each but the first halves its sides
    depth: int = 16  # of the volume
    channels: int = 32  # of the volume
    blocks: int = 6  # residual blocks over the volume
    folded: bool = False  # norms are part of the convolutions, see folding.py


class VolumeBlock(nn.Module):
    """Residual block over a volume, norm and ReLU before each convolution: [N, C, D, H, W] -> same."""

    def __init__(self, channels: int, folded: bool, ops: Ops) -> None:
        super().__init__()
        self.norm1 = ChannelScale(channels) if folded else batch_norm(VOLUMES, channels)
        self.conv1 = ops.Conv3d(channels, channels, 3, padding=1)
        self.norm2 = nn.Identity() if folded else batch_norm(VOLUMES, channels)
        self.conv2 = ops.Conv3d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv1(functional.relu(self.norm1(x)))
        return x + self.conv2(functional.relu(self.norm2(inner)))


class AppearanceExtractor(nn.Module):
    """Pictures [N, 3, 256, 256] in [0, 1] -> feature volumes [N, 32, 16, 64, 64]."""

    def __init__(self, config: AppearanceConfig = AppearanceConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.config = config
        self.first = ConvNorm(PICTURES, 3, config.widths[0], config.folded, ops)
        self.down_blocks = nn.ModuleList(
            ConvNorm(PICTURES, narrow, wide, config.folded, ops) for narrow, wide in itertools.pairwise(config.widths)
        )
        self.second = ops.Conv2d(config.widths[-1], config.channels * config.depth, 1)
        self.resblocks_3d = nn.Module()
        for index in range(config.blocks):
            self.resblocks_3d.add_module(f"3dr{index}", VolumeBlock(config.channels, config.folded, ops))

    def forward(self, pictures: Tensor) -> Tensor:
        x = functional.relu(self.first(pictures))
        for block in self.down_blocks:
            x = functional.avg_pool2d(functional.relu(block(x)), 2)
        volume = self.second(x).contiguous().unflatten(1, (self.config.channels, self.config.depth))
        for block in self.resblocks_3d.children():
            volume = block(volume)
        return volume
