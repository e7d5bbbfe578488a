"""The additions to a transformer's residual stream and the LayerNorm after them, in one pass over the tokens.

In: the stream and what is added. Out: the new stream and its normalised tokens. The sums stay in registers, so mean and
variance are computed in two exact passes that read no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from .compiler import Compiler, power_of_two

if TYPE_CHECKING:
    import triton.language as tl


class AddNormFunction(Protocol):
    """(x + delta + token, norm of it + positions) for x [N, L, C].

    `delta` is [N, L, C], `token` [B, 1, C] (the same for N / B items in a row), `positions` [F, 1, C] (item i gets row
    i modulo F). With neither `delta` nor `token` the first result is `x` itself.
    """

    def __call__(
        self,
        x: Tensor,
        delta: Tensor | None,
        norm: nn.Module,
        token: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]: ...


def plain_add_norm(
    x: Tensor, delta: Tensor | None, norm: nn.Module, token: Tensor | None = None, positions: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The twin in plain torch."""
    if delta is not None:
        x = x + delta
    if token is not None:
        x = x + token.repeat_interleave(len(x) // len(token), 0)
    tokens = norm(x)
    if positions is not None:
        tokens = tokens + positions.repeat(len(x) // len(positions), 1, 1)
    return x, tokens


def triton_add_norm(compiler: Compiler) -> AddNormFunction:
    """The Triton version; falls back to the twin where `compiler.takes` says no."""
    kernel = compiler(_add_norm)

    def add_norm(
        x: Tensor, delta: Tensor | None, norm: nn.Module, token: Tensor | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        if not compiler.takes(x, norm):
            return plain_add_norm(x, delta, norm, token, positions)
        x = x.contiguous()
        items, length, channels = x.shape
        width = power_of_two(channels, 16)
        rows = max(4096 // width, 4)
        tokens = torch.empty_like(x)
        adds = delta is not None or token is not None
        total = torch.empty_like(x) if adds else x
        kernel[(-(-items * length // rows),)](
            x, x if delta is None else delta.contiguous(), x if token is None else token.contiguous(),
            x if positions is None else positions.contiguous(), norm.weight, norm.bias, total, tokens,
            items * length, channels, length * (items // (items if token is None else len(token))), length,
            1 if positions is None else len(positions), norm.eps,
            DELTA=delta is not None, TOKEN=token is not None, POSITIONS=positions is not None,
            ROWS=rows, WIDTH=width, num_warps=min(max(rows * width // 1024, 4), 8),
        )  # fmt: skip
        return total, tokens

    return add_norm


def _add_norm(
    x, delta, token, positions, weight, bias, total, tokens,
    count, channels, shared, length, frames, eps,
    DELTA: tl.constexpr, TOKEN: tl.constexpr, POSITIONS: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Each program takes ROWS of the `count` rows; `shared` rows in a row have the same token, `length` a position."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    inside = column < channels
    mask = (row < count)[:, None] & inside[None, :]
    place = row[:, None].to(tl.int64) * channels + column[None, :]
    value = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    if DELTA:
        value += tl.load(delta + place, mask=mask, other=0.0).to(tl.float32)
    if TOKEN:
        which = (row // shared)[:, None] * channels + column[None, :]
        value += tl.load(token + which, mask=mask, other=0.0).to(tl.float32)
    if DELTA or TOKEN:
        tl.store(total + place, value.to(total.dtype.element_ty), mask=mask)
    mean = tl.sum(value, 1) / channels
    value = tl.where(mask, value - mean[:, None], 0.0)
    scale = 1.0 / tl.sqrt(tl.sum(value * value, 1) / channels + eps)
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    offset = tl.load(bias + column, mask=inside, other=0.0).to(tl.float32)
    value = value * scale[:, None] * factor[None, :] + offset[None, :]
    if POSITIONS:
        which = (row // length % frames)[:, None] * channels + column[None, :]
        value += tl.load(positions + which, mask=mask, other=0.0).to(tl.float32)
    tl.store(tokens + place, value.to(tokens.dtype.element_ty), mask=mask)
