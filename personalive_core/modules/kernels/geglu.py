"""The gated GELU between a feed-forward layer's two projections: reads the wide projection once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from .compiler import Compiler, split_width

if TYPE_CHECKING:
    import triton.language as tl

GegluFunction = Callable[[Tensor], Tensor]  # [..., 2 H], value and gate -> value * gelu(gate) [..., H]

_TILE = 2048  # elements of the result per program


def plain_geglu(projected: Tensor) -> Tensor:
    """The twin in plain torch."""
    value, gate = projected.chunk(2, -1)
    gate = functional.gelu(gate)
    # in place: on a CPU memory that is new costs more than the product
    return value * gate if torch.is_grad_enabled() else gate.mul_(value)


def triton_geglu(compiler: Compiler) -> GegluFunction:
    """The Triton version; falls back to the twin where `compiler.takes` says no."""
    kernel = compiler(_geglu)

    def geglu(projected: Tensor) -> Tensor:
        if not compiler.takes(projected):
            return plain_geglu(projected)
        projected = projected.contiguous()
        hidden = projected.shape[-1] // 2
        count = projected.numel() // (2 * hidden)
        y = projected.new_empty(*projected.shape[:-1], hidden)
        width = split_width(hidden, 512)
        rows = max(_TILE // width, 1)
        kernel[(-(-count // rows), -(-hidden // width))](
            projected, y, count, hidden, ROWS=rows, WIDTH=width, num_warps=4
        )
        return y

    return geglu


def _geglu(projected, y, count, hidden, ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """One tile of y [count, hidden]; GELU by the error function, in float32."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    mask = (row < count)[:, None] & (column < hidden)[None, :]
    place = row[:, None].to(tl.int64) * hidden
    value = tl.load(projected + 2 * place + column[None, :], mask=mask, other=0.0).to(tl.float32)
    gate = tl.load(projected + 2 * place + hidden + column[None, :], mask=mask, other=0.0).to(tl.float32)
    gelu = 0.5 * gate * (1.0 + tl.math.erf(gate * 0.7071067811865476))
    tl.store(y + place + column[None, :], (value * gelu).to(y.dtype.element_ty), mask=mask)
