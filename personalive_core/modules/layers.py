"""Small layers and functions that several networks share."""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .kernels import kernels_of

Ops = Any  # a namespace of layer classes, see this package's docstring


def sinusoid(position: Tensor, dim: int, last: float) -> tuple[Tensor, Tensor]:
    """Sine and cosine, each [..., dim / 2], of `position` [...] times `dim / 2` frequencies.

    The frequencies fall from 1 to almost 1 / `last`.
    """
    exponent = torch.arange(dim // 2, device=position.device, dtype=torch.float32) / (dim // 2)
    angle = position.float()[..., None] * torch.exp(-math.log(last) * exponent)
    return angle.sin(), angle.cos()


def interleaved_positions(count: int, dim: int) -> Tensor:
    """Positions 0 to count - 1 as [1, count, dim]: sine, cosine, sine ... (Attention Is All You Need, section 3.5)."""
    sine, cosine = sinusoid(torch.arange(count, device="cpu"), dim, 10000.0)
    return torch.stack([sine, cosine], -1).reshape(1, count, dim)


def concatenated_positions(position: Tensor, dim: int) -> Tensor:
    """Positions [...] as [..., dim]: all sines first, then all cosines."""
    return torch.cat(sinusoid(position, dim, 10000.0), -1)


class FeedForward(nn.Module):
    """Gated GELU feed-forward (GEGLU, arXiv 2002.05202): [..., C] -> [..., C]."""

    def __init__(self, dim: int, ops: Ops = nn) -> None:
        super().__init__()
        self.kernels = kernels_of(ops)
        gate = nn.Module()
        gate.proj = ops.Linear(dim, 8 * dim)
        self.net = nn.ModuleList([gate, nn.Identity(), ops.Linear(4 * dim, dim)])

    def forward(self, x: Tensor) -> Tensor:
        return self.net[2](self.kernels.geglu(self.net[0].proj(x)))


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm whose parameters and statistics may have another device or dtype than the activations."""

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__(channels, eps)
        # torch's own counter would stay on the meta device if the checkpoint does not contain it
        self.num_batches_tracked = torch.tensor(0, dtype=torch.long, device="cpu")

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)
        buffers = dict(self.named_buffers())
        mean, var = buffers["running_mean"].to(x), buffers["running_var"].to(x)
        return functional.batch_norm(x, mean, var, self.weight.to(x), self.bias.to(x), eps=self.eps)


class Float32LayerNorm(nn.Module):
    """Layer norm over the last dimension: [..., C] -> [..., C]. Computes in float32, whatever the input's dtype."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.zeros(dim))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = (a.to(x.device, torch.float32) for a in (self.weight, self.bias))
        return functional.layer_norm(x.float(), weight.shape, weight, bias, self.eps).to(x.dtype)


def attention_function(ops: Ops | ModuleType) -> Any:  # noqa: ANN401 - torch's own callable has no usable type
    """The attention function of `ops` if it has one, else torch's `scaled_dot_product_attention`."""
    return getattr(ops, "scaled_dot_product_attention", functional.scaled_dot_product_attention)


_REBUILT: dict[type[nn.Module], Any] = {
    nn.Linear: lambda ops, m: ops.Linear(m.in_features, m.out_features, m.bias is not None),
    nn.Conv2d: lambda ops, m: ops.Conv2d(
        m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.dilation, m.groups, m.bias is not None
    ),
    nn.Conv3d: lambda ops, m: ops.Conv3d(
        m.in_channels, m.out_channels, m.kernel_size, m.stride, m.padding, m.dilation, m.groups, m.bias is not None
    ),
    nn.GroupNorm: lambda ops, m: ops.GroupNorm(m.num_groups, m.num_channels, m.eps, m.affine),
}


def with_ops(network: nn.Module, ops: Ops) -> nn.Module:
    """Replaces the layers of a library's `network` by new ones from `ops`, in place; returns `network`.

    Linear, Conv2d, Conv3d and GroupNorm are replaced; layers of any other type stay. Weights are not copied, so the
    network must still be on the meta device.
    """
    if ops is not nn:
        for name, child in list(network.named_children()):
            rebuild = _REBUILT.get(type(child))
            network.add_module(name, rebuild(ops, child) if rebuild else with_ops(child, ops))
    return network
