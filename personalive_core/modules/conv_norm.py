"""A convolution with its batch norm, over pictures or volumes: as checkpoints hold both, or folded into one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import BatchNorm2d, Ops

PICTURES, VOLUMES = 2, 3  # dimensions of a picture [N, C, H, W] and of a volume [N, C, D, H, W]


class BatchNorm3d(BatchNorm2d):
    """The same for volumes [N, C, D, H, W]."""

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() != VOLUMES + 2:
            raise ValueError(f"expected a volume [N, C, D, H, W], got {list(x.shape)}")


class ChannelScale(nn.Module):
    """A batch norm without its statistics: each channel times a weight, plus a bias. [N, C, ...] -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        shape = (-1, *[1] * (x.dim() - 2))
        return torch.addcmul(self.bias.to(x).view(shape), x, self.weight.to(x).view(shape))


def convolution(dims: int, ops: Ops) -> type[nn.Module]:
    """The class of convolutions over pictures or volumes."""
    layer: type[nn.Module] = ops.Conv2d if dims == PICTURES else ops.Conv3d
    return layer


def batch_norm(dims: int, channels: int) -> nn.Module:
    """A batch norm over pictures or volumes."""
    return BatchNorm2d(channels) if dims == PICTURES else BatchNorm3d(channels)


class ConvNorm(nn.Module):
    """Convolution (3 a side) and batch norm, [N, C_in, ...] -> [N, C, ...]; folded, there is no norm of its own."""

    def __init__(self, dims: int, channels_in: int, channels: int, folded: bool, ops: Ops) -> None:
        super().__init__()
        self.conv = convolution(dims, ops)(channels_in, channels, 3, padding=1)
        self.norm = nn.Identity() if folded else batch_norm(dims, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))
