"""GroupNorm of channels-last feature maps with all that surrounds it: biases and shifts before, SiLU after.

Three kernels. `_statistics` gives mean and squared deviations of each channel over a part of the positions; parts are
so small that all processors work. `_coefficients` merges the parts and a group's channels, and turns normalisation,
weight and shifts into one factor and one offset per channel. `_apply` reads the map a second time. Sums are float32 and
taken from a value of the channel itself, so that a large mean costs no digits. No atomics: results repeat exactly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from .compiler import Compiler, channels_last, power_of_two, split_width

if TYPE_CHECKING:
    import triton.language as tl

_TILE = 4096  # elements that a program holds at a time
_PROGRAMS = 4096  # about thirty for each of a large GPU's 132 processors: their loads hide each other's latency
_PARTS = (16, 64, 256)  # a map is split into at most the last; few numbers, because each is compiled


class GroupNormFunction(Protocol):
    """silu(norm(x + bias + shift)): [N, C, h, w] or [N, C, L] -> same; `shift` is [N, C], `bias` [C]."""

    def __call__(
        self, x: Tensor, norm: nn.Module, silu: bool = False, shift: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor: ...


def plain_group_norm(
    x: Tensor, norm: nn.Module, silu: bool = False, shift: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """The twin in plain torch."""
    for term in (bias, shift):
        if term is not None:
            x = x + term.reshape(*term.shape, *[1] * (x.dim() - 2))
    return functional.silu(norm(x)) if silu else norm(x)


def triton_group_norm(compiler: Compiler) -> GroupNormFunction:
    """The Triton version; falls back to the twin where `compiler.takes` says no."""
    statistics = compiler(_statistics, "chunk", "parts")
    coefficients, apply = compiler(_coefficients, "rows", "size", "chunk", "parts"), compiler(_apply)

    def group_norm(
        x: Tensor, norm: nn.Module, silu: bool = False, shift: Tensor | None = None, bias: Tensor | None = None
    ) -> Tensor:
        if not compiler.takes(x, norm):
            return plain_group_norm(x, norm, silu, shift, bias)
        flat = channels_last(x if x.dim() == 4 else x[..., None])
        items, channels, rows = len(flat), flat.shape[1], flat.shape[2] * flat.shape[3]
        width = split_width(channels)
        tile, blocks = max(_TILE // width, 1), -(-channels // width)
        parts = min(max(_PROGRAMS // (items * blocks), 1), -(-rows // tile), _PARTS[-1])
        chunk = -(-rows // (parts * tile)) * tile
        parts = -(-rows // chunk)
        means = torch.empty(2, items, parts, channels, device=x.device, dtype=torch.float32)
        scales = torch.empty(2, items, channels, device=x.device, dtype=torch.float32)
        y, size = torch.empty_like(flat), channels // norm.num_groups
        sizes: Any = {"ROWS": tile, "WIDTH": width}
        statistics[(parts, items, blocks)](flat, means[0], means[1], rows, channels, chunk, parts, **sizes, num_warps=8)
        coefficients[(items, norm.num_groups)](
            means[0], means[1], x if shift is None else shift.contiguous(), x if bias is None else bias,
            norm.weight, norm.bias, scales[0], scales[1], rows, channels, chunk, parts, size, norm.eps,
            SHIFTED=shift is not None, BIASED=bias is not None,
            PARTS=next(p for p in _PARTS if parts <= p), SIZE=power_of_two(size, 16),
            num_warps=1 if parts * size <= 512 else 4,
        )  # fmt: skip
        apply[(-(-rows // tile), items, blocks)](
            flat, scales[0], scales[1], y, rows, channels, SILU=silu, **sizes, num_warps=4
        )
        return y.view_as(x)

    return group_norm


def _statistics(
    x, means, squares, rows, channels, chunk, parts,
    ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Mean and sum of squared deviations [items, parts, C] of each channel over `chunk` rows of x [items, rows, C]."""
    part, item = tl.program_id(0), tl.program_id(1)
    column = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    inside = column < channels
    first = part * chunk
    last = tl.minimum(first + chunk, rows)
    base = x + item.to(tl.int64) * rows * channels
    pivot = tl.load(base + first * channels + column, mask=inside, other=0.0).to(tl.float32)
    total = tl.zeros([ROWS, WIDTH], tl.float32)
    square = tl.zeros([ROWS, WIDTH], tl.float32)
    for start in range(first, last, ROWS):
        row = start + tl.arange(0, ROWS)
        mask = (row < last)[:, None] & inside[None, :]
        value = tl.load(base + row[:, None] * channels + column[None, :], mask=mask, other=0.0).to(tl.float32)
        value = tl.where(mask, value - pivot[None, :], 0.0)
        total += value
        square += value * value
    whole = tl.sum(total, 0)
    mean = whole / (last - first)
    place = (item * parts + part) * channels + column
    tl.store(means + place, pivot + mean, mask=inside)
    tl.store(squares + place, tl.maximum(tl.sum(square, 0) - whole * mean, 0.0), mask=inside)


def _coefficients(
    means, squares, shift, bias, weight, offset, scales, offsets,
    rows, channels, chunk, parts, size, eps,
    SHIFTED: tl.constexpr, BIASED: tl.constexpr, PARTS: tl.constexpr, SIZE: tl.constexpr,
):  # fmt: skip
    """Factor and offset [items, C] of each channel, so that norm(x + shift + bias) is x * factor + offset."""
    item, group = tl.program_id(0), tl.program_id(1)
    number = tl.arange(0, SIZE)
    inside = number < size
    column = group * size + number
    part = tl.arange(0, PARTS)
    mask = (part < parts)[:, None] & inside[None, :]
    place = (item * parts + part)[:, None] * channels + column[None, :]
    moved = tl.zeros([SIZE], tl.float32)
    if SHIFTED:
        moved += tl.load(shift + item * channels + column, mask=inside, other=0.0).to(tl.float32)
    if BIASED:
        moved += tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    mean = tl.load(means + place, mask=mask, other=0.0) + moved[None, :]
    count = tl.where(mask, tl.minimum(rows - part * chunk, chunk)[:, None], 0).to(tl.float32)
    whole = (rows * size).to(tl.float32)
    centre = tl.sum(tl.sum(mean * count, 1), 0) / whole
    spread = tl.load(squares + place, mask=mask, other=0.0) + count * (mean - centre) * (mean - centre)
    variance = tl.sum(tl.sum(spread, 1), 0) / whole
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32) / tl.sqrt(variance + eps)
    added = tl.load(offset + column, mask=inside, other=0.0).to(tl.float32) + (moved - centre) * factor
    tl.store(scales + item * channels + column, factor, mask=inside)
    tl.store(offsets + item * channels + column, added, mask=inside)


def _apply(
    x, scales, offsets, y, rows, channels,
    SILU: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """y = x * factor + offset, then SiLU if asked for."""
    item = tl.program_id(1)
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(2) * WIDTH + tl.arange(0, WIDTH)
    inside = column < channels
    mask = (row < rows)[:, None] & inside[None, :]
    place = item.to(tl.int64) * rows * channels + row[:, None] * channels + column[None, :]
    factor = tl.load(scales + item * channels + column, mask=inside, other=0.0)
    offset = tl.load(offsets + item * channels + column, mask=inside, other=0.0)
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32) * factor[None, :] + offset[None, :]
    if SILU:
        value = value / (1.0 + tl.exp(-value))
    tl.store(y + place, value.to(y.dtype.element_ty), mask=mask)
