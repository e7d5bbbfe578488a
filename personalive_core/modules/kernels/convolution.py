"""What surrounds convolutions: biases and residuals added in one pass, 1x1 convolutions as matrix products.

torch adds the bias of a convolution in a pass of its own. Here the convolution leaves it out, and whoever reads the
result next adds it: `add` below, or the next norm.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from .compiler import Compiler, channels_last, split_width

if TYPE_CHECKING:
    import triton.language as tl

# (x, convolution) -> (result, the bias that it still lacks or None)
ConvolutionFunction = Callable[[Tensor, nn.Module], tuple[Tensor, Tensor | None]]
PointwiseFunction = Callable[[Tensor, nn.Module], Tensor]  # (x [N, C, h, w], 1x1 convolution) -> its result

_TILE = 4096  # elements per program


class AddFunction(Protocol):
    """x + residual + bias, then ReLU if asked for: [N, C, h, w]; `bias` is [C]."""

    def __call__(self, x: Tensor, residual: Tensor | None, bias: Tensor | None, relu: bool = False) -> Tensor: ...


def plain_convolution(x: Tensor, convolution: nn.Module) -> tuple[Tensor, Tensor | None]:
    """The twin in plain torch: nothing is lacking."""
    return convolution(x), None


def split_convolution(compiler: Compiler) -> ConvolutionFunction:
    """Leaves the bias to the next function, where `compiler.takes` the layer."""

    def convolve(x: Tensor, convolution: nn.Module) -> tuple[Tensor, Tensor | None]:
        if not compiler.takes(x, convolution):
            return convolution(x), None
        layer: Any = convolution
        y = functional.conv2d(x, layer.weight, None, layer.stride, layer.padding, layer.dilation, layer.groups)
        return y, layer.bias

    return convolve


def plain_pointwise(x: Tensor, convolution: nn.Module) -> Tensor:
    """The twin in plain torch."""
    result: Tensor = convolution(x)
    return result


def matrix_pointwise(compiler: Compiler) -> PointwiseFunction:
    """A matrix product over the tokens of a channels-last map, whose bias costs nothing."""

    def pointwise(x: Tensor, convolution: nn.Module) -> Tensor:
        if not compiler.takes(x, convolution):
            return plain_pointwise(x, convolution)
        items, channels, height, width = x.shape
        tokens = channels_last(x).permute(0, 2, 3, 1).reshape(-1, channels)
        y = functional.linear(tokens, convolution.weight.flatten(1), convolution.bias)
        return y.reshape(items, height, width, -1).permute(0, 3, 1, 2)

    return pointwise


def plain_add(x: Tensor, residual: Tensor | None, bias: Tensor | None, relu: bool = False) -> Tensor:
    """The twin in plain torch."""
    if bias is not None:
        x = x + bias[:, None, None]
    if residual is not None:
        x = x + residual
    return functional.relu(x) if relu else x


def triton_add(compiler: Compiler) -> AddFunction:
    """The Triton version; falls back to the twin where `compiler.takes` says no."""
    kernel = compiler(_add)

    def add(x: Tensor, residual: Tensor | None, bias: Tensor | None, relu: bool = False) -> Tensor:
        if not compiler.takes(x) or (residual is not None and residual.dtype != x.dtype):
            return plain_add(x, residual, bias, relu)
        x, channels = channels_last(x), x.shape[1]
        y, rows, width = torch.empty_like(x), x.numel() // channels, split_width(channels)
        tile = max(_TILE // width, 1)
        kernel[(-(-rows // tile), -(-channels // width))](
            x, x if residual is None else channels_last(residual), x if bias is None else bias, y, rows, channels,
            RESIDUAL=residual is not None, BIAS=bias is not None, RELU=relu, ROWS=tile, WIDTH=width, num_warps=4,
        )  # fmt: skip
        return y

    return add


def _add(
    x, residual, bias, y, rows, channels,
    RESIDUAL: tl.constexpr, BIAS: tl.constexpr, RELU: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """One tile of y [rows, C]."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    place = row[:, None].to(tl.int64) * channels + column[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    if BIAS:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    if RESIDUAL:
        value += tl.load(residual + place, mask=mask, other=0.0).to(tl.float32)
    if RELU:
        value = tl.maximum(value, 0.0)
    tl.store(y + place, value.to(y.dtype.element_ty), mask=mask)
