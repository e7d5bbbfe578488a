"""Stitching and retargeting networks of LivePortrait: perceptrons over keypoints."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn

from .keypoints import KEYPOINTS
from .layers import Ops

_POINTS = 3 * KEYPOINTS


@dataclass(frozen=True)
class RetargetingConfig:
    """Widths of the three perceptrons from input to output; inputs are keypoints, then ratios."""

    stitching: tuple[int, ...] = (2 * _POINTS, 128, 128, 64, _POINTS + 2)
    lips: tuple[int, ...] = (_POINTS + 2, 128, 128, 64, _POINTS)
    eyes: tuple[int, ...] = (_POINTS + 3, 256, 256, 128, 128, 64, _POINTS)


class Perceptron(nn.Module):
    """Linear layers with ReLU between them: [N, widths[0]] -> [N, widths[-1]]."""

    def __init__(self, widths: tuple[int, ...], ops: Ops = nn) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(widths):
            layers += [ops.Linear(wide, narrow), nn.ReLU()]
        self.mlp = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class RetargetingNetworks(nn.Module):
    """The three perceptrons, as their one file holds them."""

    def __init__(self, config: RetargetingConfig = RetargetingConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.retarget_shoulder = Perceptron(config.stitching, ops)
        self.retarget_mouth = Perceptron(config.lips, ops)
        self.retarget_eye = Perceptron(config.eyes, ops)
