"""Attention over the few frames of each position, in the layout that all other layers use: tokens [frames, L, C].

A position's frames lie L * C elements apart. The kernel reads them where they are, so nothing is transposed. Each
program takes one position (several, if the frames are fewer than a matrix unit's 16 rows) and all heads, one by one:
its scores are one small matrix product, whose softmax is computed in float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from einops import rearrange
from torch import Tensor

from .compiler import Compiler, power_of_two

if TYPE_CHECKING:
    import triton.language as tl

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]  # q, k, v [N, H, L, D] -> [N, H, L, D]

_MOST_FRAMES, _MOST_DIM = 32, 256  # of the kernel: what a program can hold
# While a head is computed the next ones are loaded, to twice a head's q, k and v; but GeForce cards hold 99 KB.
_STAGES, _SMALL = 3, 8192  # heads on their way; bytes of a head's q up to which more than one is
LOG2_E = 1.4426950408889634  # the kernels take powers of two, which processors have an instruction for
_PROGRAMS = 2048  # fewer do not hide the memory's latency: then programs share a position's heads


class FramesFunction(Protocol):
    """Attention of tokens q, k, v [(G F), L, C] over the F frames of each position and group -> [(G F), L, C]."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, frames: int, attend: Attend) -> Tensor: ...


def plain_frames(q: Tensor, k: Tensor, v: Tensor, heads: int, frames: int, attend: Attend) -> Tensor:
    """The twin in plain torch: a call of `attend` for each group, on views."""
    groups = zip(*(a.split(frames) for a in (q, k, v)), strict=True)
    found = [attend(*(rearrange(a, "f l (h d) -> l h f d", h=heads) for a in group)) for group in groups]
    return torch.cat([rearrange(y, "l h f d -> f l (h d)") for y in found])


def triton_frames(compiler: Compiler) -> FramesFunction:
    """The Triton version; falls back to the twin where `compiler.takes` says no, and for many frames or wide heads."""
    kernel = compiler(_frames, "each")

    def attend_frames(q: Tensor, k: Tensor, v: Tensor, heads: int, frames: int, attend: Attend) -> Tensor:
        items, length, channels = q.shape
        dim, groups = channels // heads, items // frames
        if not compiler.takes(q) or frames > _MOST_FRAMES or dim > _MOST_DIM:
            return plain_frames(q, k, v, heads, frames, attend)
        rows, width = power_of_two(frames, 16), power_of_two(dim, 16)
        places = rows // frames
        blocks = -(-length // places)
        each = heads
        while each % 2 == 0 and blocks * groups * (heads // each) < _PROGRAMS:
            each //= 2
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        y = torch.empty_like(q)
        kernel[(heads // each, blocks, groups)](
            q, k, v, y, length, channels, each, dim**-0.5 * LOG2_E,
            DIM=dim, FRAMES=frames, PLACES=places, ROWS=rows, WIDTH=width, num_warps=max(width // 64, 1),
            num_stages=_STAGES if rows * width * q.element_size() <= _SMALL else 1,
        )  # fmt: skip
        return y

    return attend_frames


def _frames(
    q, k, v, y, length, channels, each, scale,
    DIM: tl.constexpr, FRAMES: tl.constexpr, PLACES: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """Row i of a program is frame i % FRAMES of its position i // FRAMES; `scale` contains log2(e).

    DIM is known to the compiler, so that it sees that heads begin at multiples of 16 bytes and loads so many at once.
    """
    number = tl.arange(0, ROWS)
    position = tl.program_id(1) * PLACES + number // FRAMES
    exists = (number < PLACES * FRAMES) & (position < length)
    together = (number // FRAMES)[:, None] == (number // FRAMES)[None, :]
    seen = together & exists[None, :]
    row = (tl.program_id(2) * FRAMES + number % FRAMES).to(tl.int64) * length + position
    column = tl.arange(0, WIDTH)
    mask = exists[:, None] & (column < DIM)[None, :]
    start = row[:, None] * channels + column[None, :] + tl.program_id(0) * each * DIM
    for head in range(each):
        place = start + head * DIM
        queries = tl.load(q + place, mask=mask, other=0.0)
        keys = tl.load(k + place, mask=mask, other=0.0)
        values = tl.load(v + place, mask=mask, other=0.0)
        scores = tl.dot(queries, tl.trans(keys), input_precision="ieee") * scale
        scores = tl.where(seen, scores, -1.0e30)
        share = tl.exp2(scores - tl.max(scores, 1)[:, None])
        whole = tl.sum(share, 1)
        found = tl.dot(share.to(values.dtype), values, input_precision="ieee") / whole[:, None]
        tl.store(y + place, found.to(y.dtype.element_ty), mask=mask)
