"""Decoder of LivePortrait: warped features as a picture, through spatially adaptive norms (SPADE, arXiv 1903.07291)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import Ops
from .repeated import interleaved, kinds
from .winograd import Part, by_rows

_SLOPE = 0.2  # of every leaky ReLU
_EPS = 1e-5  # of every norm
_RGB = 3


@dataclass(frozen=True)
class SpadeConfig:
    """Shapes of the decoder."""

    features: int = 256  # channels of the warped features
    middle: int = 512  # channels of the blocks at the features' size
    blocks: int = 6  # of these
    widths: tuple[int, ...] = (256, 64)  # channels of the blocks that come after a doubling of the sides
    hidden: int = 128  # channels between the features and a norm's gamma and beta
    shuffle: int = 2  # pixels a side that each of the last map's becomes
    folded: bool = False  # as it runs, see `fold_decoder`; else as the checkpoint holds it


class SpectralConv2d(nn.Module):
    """A convolution with spectral norm as checkpoints hold it, the vectors u and v fixed: weight / (uᵀ W v)."""

    def __init__(self, channels_in: int, channels: int, side: int, bias: bool = True) -> None:
        super().__init__()
        self.weight_orig = nn.Parameter(torch.empty(channels, channels_in, side, side).normal_(generator=_seeded()))
        self.bias = nn.Parameter(torch.zeros(channels)) if bias else None
        self.register_buffer("weight_u", torch.ones(channels))
        self.register_buffer("weight_v", torch.ones(channels_in * side * side))

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight_orig / (self.weight_u @ self.weight_orig.flatten(1) @ self.weight_v)
        return functional.conv2d(x, weight, self.bias, padding=weight.shape[-1] // 2)


def _seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class SpadeNorm(nn.Module):
    """Instance norm of [N, C, H, W], times 1 + gamma, plus beta: both are read from the features at each place."""

    def __init__(self, channels: int, config: SpadeConfig, ops: Ops) -> None:
        super().__init__()
        self.mlp_shared = nn.Sequential(ops.Conv2d(config.features, config.hidden, 3, padding=1), nn.ReLU())
        self.mlp_gamma, self.mlp_beta = (ops.Conv2d(config.hidden, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        hidden = self.mlp_shared(functional.interpolate(features, size=x.shape[2:]))
        return functional.instance_norm(x) * (1 + self.mlp_gamma(hidden)) + self.mlp_beta(hidden)


class SpadeBlock(nn.Module):
    """Residual block [N, C_in, H, W] -> [N, C, H, W], or of twice the sides where `doubles`; as checkpoints hold it."""

    def __init__(self, channels_in: int, channels: int, doubles: bool, config: SpadeConfig, ops: Ops) -> None:
        super().__init__()
        narrow, self.doubles = min(channels_in, channels), doubles
        self.conv_0, self.conv_1 = SpectralConv2d(channels_in, narrow, 3), SpectralConv2d(narrow, channels, 3)
        self.norm_0, self.norm_1 = SpadeNorm(channels_in, config, ops), SpadeNorm(narrow, config, ops)
        self.widens = channels_in != channels
        if self.widens:
            self.conv_s = SpectralConv2d(channels_in, channels, 1, bias=False)
            self.norm_s = SpadeNorm(channels_in, config, ops)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        if self.doubles:
            x = functional.interpolate(x, scale_factor=2)
        inner = self.conv_0(functional.leaky_relu(self.norm_0(x, features), _SLOPE))
        inner = self.conv_1(functional.leaky_relu(self.norm_1(inner, features), _SLOPE))
        return inner + (self.conv_s(self.norm_s(x, features)) if self.widens else x)


class FoldedBlock(nn.Module):
    """`SpadeBlock` as it runs: norms share what they have in common, and repeated pixels are computed once.

    `shared` is the first convolution of all its norms; `norm_0` and `norm_1` give 1 + gamma and beta together, `norm_s`
    gives 1 + gamma, and `shift` is the shortcut's convolution of beta.
    """

    def __init__(self, channels_in: int, channels: int, times: int, config: SpadeConfig, ops: Ops) -> None:
        """`times`: how often the features are repeated along each axis; beyond 1 the block doubles its input."""
        super().__init__()
        narrow, self.times, self.hidden = min(channels_in, channels), times, config.hidden
        self.widens = channels_in != channels
        hidden = config.hidden * (3 if self.widens else 2)
        if times == 1:
            self.shared = ops.Conv2d(config.features, hidden, 3, padding=1)
        else:
            self.shared = ops.Conv2d(config.features, kinds(times) * hidden, 2, padding=1)
        self.conv_0 = ops.Conv2d(channels_in, narrow, 3, padding=1)
        self.conv_1 = ops.Conv2d(narrow, channels, 3, padding=1)
        self.norm_0 = ops.Conv2d(config.hidden, 2 * channels_in, 3, padding=1)
        self.norm_1 = ops.Conv2d(config.hidden, 2 * narrow, 3, padding=1)
        if self.widens:
            self.norm_s = ops.Conv2d(config.hidden, channels_in, 3, padding=1)
            self.conv_s = ops.Conv2d(channels_in, channels, 1, bias=False)
            self.shift = ops.Conv2d(config.hidden, channels, 3, padding=1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        hidden = functional.relu(self.shared(features))
        normal = normalised(x)  # a repetition of pixels changes neither mean nor variance
        if self.times > 1:
            hidden = interleaved(hidden, self.times)
        seen, own = hidden.split(self.hidden, 1), partial(_at, normal, self.times > 1)
        inner = self.conv_0(by_rows(self.norm_0, seen[0], lambda made, part: _modulated(own(part), made)))
        normal_1 = normalised(inner)
        inner = self.conv_1(by_rows(self.norm_1, seen[1], lambda made, part: _modulated(normal_1[part], made)))
        if self.widens:
            inner += by_rows(self.norm_s, seen[2], lambda made, part: self.conv_s(own(part) * made))
            return inner.add_(self.shift(seen[2]))
        return inner.add_(x if self.times == 1 else functional.interpolate(x, scale_factor=2))


def _at(normal: Tensor, repeated: bool, part: Part) -> Tensor:
    """A part of a map, or of what it is when its pixels are repeated twice along each axis."""
    if not repeated:
        return normal[part]
    pictures, channels, rows = part
    begin = rows.start // 2
    found = functional.interpolate(normal[pictures, channels, begin : -(-rows.stop // 2)], scale_factor=2)
    return found[:, :, rows.start - 2 * begin : rows.stop - 2 * begin]


def _modulated(normal: Tensor, scale_and_shift: Tensor) -> Tensor:
    scale, shift = scale_and_shift.chunk(2, 1)
    return functional.leaky_relu(torch.addcmul(shift, normal, scale), _SLOPE)


def normalised(x: Tensor) -> Tensor:
    """Instance norm of [N, C, H, W]; of maps with channels last, which torch's own would reorder, in their order."""
    if x.stride(1) != 1:
        return functional.instance_norm(x)
    wide = x.float() if x.dtype.itemsize < torch.float32.itemsize else x  # squares of float16 overflow
    away = wide - wide.mean((2, 3), keepdim=True)
    return away.mul_((away.square().mean((2, 3), keepdim=True) + _EPS).rsqrt_()).to(x.dtype)


class SpadeDecoder(nn.Module):
    """Warped features [N, 256, 64, 64] -> pictures [N, 3, 512, 512] in [0, 1]."""

    def __init__(self, config: SpadeConfig = SpadeConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.config = config

        def block(channels_in: int, channels: int, times: int) -> nn.Module:
            if config.folded:
                return FoldedBlock(channels_in, channels, times, config, ops)
            return SpadeBlock(channels_in, channels, times > 1, config, ops)

        self.fc = ops.Conv2d(config.features, config.middle, 3, padding=1)
        for index in range(config.blocks):
            self.add_module(f"G_middle_{index}", block(config.middle, config.middle, 1))
        widths = (config.middle, *config.widths)
        for index, width in enumerate(config.widths):
            self.add_module(f"up_{index}", block(widths[index], width, 2 ** (index + 1)))
        last = ops.Conv2d(widths[-1], _RGB * config.shuffle**2, 3, padding=1)
        self.conv_img = nn.Sequential(last, nn.PixelShuffle(config.shuffle))

    def forward(self, features: Tensor) -> Tensor:
        x = self.fc(features)
        for name in decoder_blocks(self.config):
            x = self.get_submodule(name)(x, features)
        return self.conv_img(functional.leaky_relu(x, _SLOPE)).sigmoid()


def decoder_blocks(config: SpadeConfig) -> tuple[str, ...]:
    """Names of the decoder's blocks, in the order in which they run."""
    middle = (f"G_middle_{index}" for index in range(config.blocks))
    return (*middle, *(f"up_{index}" for index in range(len(config.widths))))
