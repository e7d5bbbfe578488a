"""Warping network of LivePortrait: the source's feature volume, moved from its keypoints to the driving's."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from .conv_norm import PICTURES, ConvNorm
from .dense_motion import DenseMotion, WarpingConfig
from .layers import Ops
from .volumes import sample_volume

_PUBLISHED = WarpingConfig()
_SLOPE = 0.01  # of the leaky ReLU


@dataclass(frozen=True)
class Warped:
    """What the warping network makes of one volume."""

    features: Tensor  # [N, 256, H, W], the decoder's input
    deformation: Tensor  # [N, D, H, W, 3] where each voxel comes from, x, y, z in [-1, 1]; of `place_dtype`
    occlusion: Tensor  # [N, 1, H, W] in [0, 1], 0 where the source does not show what is needed


class WarpingNetwork(nn.Module):
    """Feature volumes [N, 32, 16, 64, 64] and keypoints [N, 21, 3] of source and driving -> warped features."""

    def __init__(self, config: WarpingConfig = _PUBLISHED, ops: Ops = nn) -> None:
        super().__init__()
        self.config = config
        self.dense_motion_network = DenseMotion(config, ops)
        self.third = ConvNorm(PICTURES, config.channels * config.depth, config.out, config.folded, ops)
        self.fourth = ops.Conv2d(config.out, config.out, 1)

    def forward(self, volume: Tensor, source: Tensor, driving: Tensor) -> Warped:
        deformation, occlusion = self.dense_motion_network(volume, source, driving)
        flat = sample_volume(volume, deformation).flatten(1, 2)
        features = self.fourth(functional.leaky_relu(self.third(flat), _SLOPE)) * occlusion
        return Warped(features, deformation, occlusion)
