"""Nearest upsampling by two and the 3x3 convolution after it, computed at the low resolution.

Each of the four pixels that come of one sees only 2x2 of the low pixels: taps of the 3x3 kernel that meet the same low
pixel are summed beforehand, in float32. So one 2x2 convolution to four times the channels does it with 4/9 of the
arithmetic, and the upsampled input is never written. A kernel then puts the four pixels in their places and adds the
bias. The sums are rounded to the weights' type once; that is the only other rounding than the twin's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from .compiler import Compiler, channels_last, split_width

if TYPE_CHECKING:
    import triton.language as tl

UpsampleFunction = Callable[[Tensor, nn.Module], Tensor]  # (x [N, C, h, w], 3x3 convolution) -> [N, C', 2h, 2w]

_TILE, _BLOCK = 4096, 512  # elements per program


def plain_upsample(x: Tensor, convolution: nn.Module) -> Tensor:
    """The twin in plain torch."""
    result: Tensor = convolution(functional.interpolate(x, scale_factor=2.0, mode="nearest"))
    return result


def triton_upsample(compiler: Compiler) -> UpsampleFunction:
    """The Triton version; falls back to the twin where `compiler.takes` says no."""
    sums, interleave = compiler(_sums), compiler(_interleave)

    def upsample(x: Tensor, convolution: nn.Module) -> Tensor:
        if not compiler.takes(x, convolution):
            return plain_upsample(x, convolution)
        layer: Any = convolution
        weight = channels_last(layer.weight)
        out, channels = weight.shape[:2]
        like: Any = {"device": x.device, "dtype": x.dtype, "memory_format": torch.channels_last}
        phases = torch.empty(4 * out, channels, 2, 2, **like)
        sums[(out, -(-channels // _BLOCK))](weight, phases, out, channels, BLOCK=_BLOCK, num_warps=4)
        low = channels_last(functional.conv2d(channels_last(x), phases, None, padding=1))  # [N, 4 C', h + 1, w + 1]
        items, height, width = len(x), x.shape[2], x.shape[3]
        y = torch.empty(items, out, 2 * height, 2 * width, **like)
        rows, block = 4 * items * height * width, split_width(out)
        tile = max(_TILE // block, 1)
        interleave[(-(-rows // tile), -(-out // block))](
            low, weight if layer.bias is None else layer.bias, y, rows, height, width, out,
            BIAS=layer.bias is not None, ROWS=tile, WIDTH=block, num_warps=4,
        )  # fmt: skip
        return y

    return upsample


def _sums(weight, phases, out, channels, BLOCK: tl.constexpr):
    """Channels-last [out, 3, 3, C] -> [2, 2, out, 2, 2, C]: first the phase's row and column, then the low pixel's.

    Of three taps, phase 0 sees tap 0 in the first low pixel and 1 and 2 in the second; phase 1 sees 0 and 1, then 2.
    """
    row = tl.program_id(0)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < channels
    source = weight + row.to(tl.int64) * 9 * channels + column
    for phase in tl.static_range(4):
        for pixel in tl.static_range(4):
            total = tl.zeros([BLOCK], tl.float32)
            for tap in tl.static_range(9):
                # phase p sees tap t in low pixel (t + 1 - p) // 2
                if (tap // 3 + 1 - phase // 2) // 2 * 2 + (tap % 3 + 1 - phase % 2) // 2 == pixel:
                    total += tl.load(source + tap * channels, mask=mask, other=0.0).to(tl.float32)
            place = ((phase * out + row).to(tl.int64) * 4 + pixel) * channels + column
            tl.store(phases + place, total.to(phases.dtype.element_ty), mask=mask)


def _interleave(
    low, bias, y, rows, height, width, channels,
    BIAS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """[N, h + 1, w + 1, 2, 2, C] -> [N, 2 h, 2 w, C]; phase 1 of a pixel stands one low pixel later."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    across = row % (2 * width)
    down = row // (2 * width) % (2 * height)
    item = row // (4 * width * height)
    pixel = (item * (height + 1) + down // 2 + down % 2) * (width + 1) + across // 2 + across % 2
    source = (pixel.to(tl.int64) * 4 + down % 2 * 2 + across % 2) * channels
    value = tl.load(low + source[:, None] + column[None, :], mask=mask, other=0.0).to(tl.float32)
    if BIAS:
        value += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)[None, :]
    tl.store(y + row[:, None].to(tl.int64) * channels + column[None, :], value.to(y.dtype.element_ty), mask=mask)
