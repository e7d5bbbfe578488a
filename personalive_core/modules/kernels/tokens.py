"""Attention of many tokens: to few keys in one pass by a kernel, to many by the attention function of the host.

Cross-attention to a frame's 32 motion tokens reads and writes little more than its queries and results. Also: keys of
a frame's own tokens beside those that all frames share, without writing the frame's own a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

from .compiler import Compiler, power_of_two
from .frames import LOG2_E, Attend

if TYPE_CHECKING:
    import triton.language as tl

_FEW, _MOST_DIM = 64, 256  # keys and head width that a program can hold,
_MOST_BYTES = 32768  # and bytes of a head's keys: with its values and the scores, GeForce cards hold 99 KB
_SPREAD = 2048  # elements that a program copies


class AttentionFunction(Protocol):
    """Attention of q [N, L, C] to k, v [N, M, C] -> [N, L, C]."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, heads: int, attend: Attend) -> Tensor: ...


# (x [(B F), L, D], linear, shared [B, M, C]) -> linear(x), then the shared tokens: [(B F), L + M, C]
BesideFunction = Callable[[Tensor, nn.Module, Tensor], Tensor]


def plain_attention(q: Tensor, k: Tensor, v: Tensor, heads: int, attend: Attend) -> Tensor:
    """The twin in plain torch."""
    q, k, v = (rearrange(a, "n l (h d) -> n h l d", h=heads) for a in (q, k, v))
    return rearrange(attend(q, k, v), "n h l d -> n l (h d)")


def triton_attention(compiler: Compiler) -> AttentionFunction:
    """The Triton version for few keys; the twin for many, for wide heads, and where `compiler.takes` says no."""
    kernel = compiler(_few_keys)

    def attention(q: Tensor, k: Tensor, v: Tensor, heads: int, attend: Attend) -> Tensor:
        items, length, channels = q.shape
        keys, dim = k.shape[1], channels // heads
        several, width = power_of_two(keys, 16), power_of_two(dim, 16)
        fits = keys <= _FEW and dim <= _MOST_DIM and several * width * q.element_size() <= _MOST_BYTES
        if not fits or not compiler.takes(q):
            return plain_attention(q, k, v, heads, attend)
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        y = torch.empty_like(q)
        block = min(8192 // (width * q.element_size() // 2), 128, power_of_two(length, 16))  # what registers hold
        kernel[(heads, -(-length // block), items)](
            q, k, v, y, length, keys, channels, dim**-0.5 * LOG2_E,
            DIM=dim, BLOCK=block, KEYS=several, WIDTH=width, num_warps=4 if width <= 128 else 8,
        )  # fmt: skip
        return y

    return attention


def _few_keys(
    q, k, v, y, length, keys, channels, scale,
    DIM: tl.constexpr, BLOCK: tl.constexpr, KEYS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """BLOCK queries of one head and item against all keys; `scale` contains log2(e)."""
    head, item = tl.program_id(0), tl.program_id(2).to(tl.int64)
    row = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    key = tl.arange(0, KEYS)
    column = tl.arange(0, WIDTH)
    inside = (column < DIM)[None, :]
    column = head * DIM + column
    mask = (row < length)[:, None] & inside
    place = item * length * channels + row[:, None] * channels + column[None, :]
    place_of_key = item * keys * channels + key[:, None] * channels + column[None, :]
    queries = tl.load(q + place, mask=mask, other=0.0)
    there = (key < keys)[:, None] & inside
    seen = tl.load(k + place_of_key, mask=there, other=0.0)
    values = tl.load(v + place_of_key, mask=there, other=0.0)
    scores = tl.dot(queries, tl.trans(seen), input_precision="ieee") * scale
    scores = tl.where((key < keys)[None, :], scores, -1.0e30)
    share = tl.exp2(scores - tl.max(scores, 1)[:, None])
    whole = tl.sum(share, 1)
    found = tl.dot(share.to(values.dtype), values, input_precision="ieee") / whole[:, None]
    tl.store(y + place, found.to(y.dtype.element_ty), mask=mask)


def plain_beside(x: Tensor, linear: nn.Module, shared: Tensor) -> Tensor:
    """The twin in plain torch."""
    frames = rearrange(linear(x), "(b f) l c -> b f l c", b=len(shared))
    # expand, not repeat: only the concatenation copies the shared tokens
    return torch.cat([frames, shared[:, None].expand(-1, frames.shape[1], -1, -1)], 2).flatten(0, 1)


def triton_beside(compiler: Compiler) -> BesideFunction:
    """The Triton version: the projection writes into its place, a kernel copies the shared tokens beside it."""
    kernel = compiler(_spread)

    def beside(x: Tensor, linear: nn.Module, shared: Tensor) -> Tensor:
        if not compiler.takes(x, linear) or linear.bias is not None or shared.dtype != x.dtype:
            return plain_beside(x, linear, shared)
        items, own, more = len(x), x.shape[1], shared.shape[1]
        channels = shared.shape[2]
        both = x.new_empty(items, own + more, channels)
        # beta 0: what stands in `both` is ignored, even NaN
        both[:, :own].baddbmm_(x, linear.weight.t().expand(items, -1, -1), beta=0)
        count = more * channels
        kernel[(-(-count // _SPREAD), items)](
            shared.contiguous(), both, count, own * channels, items // len(shared), BLOCK=_SPREAD, num_warps=4
        )
        return both

    return beside


def _spread(shared, both, count, own, frames, BLOCK: tl.constexpr):
    """Copies `count` elements of an item to the end of each of its frames, `own` elements after their start."""
    item = tl.program_id(1)
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = number < count
    value = tl.load(shared + (item // frames).to(tl.int64) * count + number, mask=mask)
    tl.store(both + item.to(tl.int64) * (own + count) + own + number, value, mask=mask)
