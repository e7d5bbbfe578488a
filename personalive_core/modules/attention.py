"""Attention that takes extra keys and values as arguments, and the transformer layers built from it."""

from __future__ import annotations

from typing import cast

import torch
from einops import rearrange, repeat
from torch import Tensor, nn

from .inputs import KV
from .layers import FeedForward, Ops, attention_function, interleaved_positions


def beside(own: Tensor, shared: Tensor) -> Tensor:
    """Appends `shared` [B, M, C], the same for all F frames, to `own` [(B F), L, C]: [(B F), L + M, C]."""
    frames = rearrange(own, "(b f) l c -> b f l c", b=len(shared))
    # expand, not repeat: only the concatenation copies the shared tokens
    return torch.cat([frames, shared[:, None].expand(-1, frames.shape[1], -1, -1)], 2).flatten(0, 1)


class Attention(nn.Module):
    """Multi-head attention: [N, L, C] -> [N, L, C]."""

    def __init__(self, dim: int, context_dim: int | None = None, heads: int = 8, ops: Ops = nn) -> None:
        super().__init__()
        self.heads = heads
        self.attend = attention_function(ops)
        self.to_q = ops.Linear(dim, dim, bias=False)
        self.to_k = ops.Linear(context_dim or dim, dim, bias=False)
        self.to_v = ops.Linear(context_dim or dim, dim, bias=False)
        self.to_out = nn.ModuleList([ops.Linear(dim, dim)])

    def kv(self, context: Tensor) -> KV:
        """Keys and values [N, M, C] of `context` [N, M, D]."""
        return self.to_k(context), self.to_v(context)

    def forward(self, x: Tensor, context: Tensor | None = None, extra: KV | None = None) -> Tensor:
        """`x` [(B F), L, C] attends to `context` [(B F), M, D] and to the keys and values `extra`; gives [(B F), L, C].

        `context` defaults to `x`. `extra` is a pair of [B, M, C], shared by all F frames.
        """
        q, (k, v) = self.to_q(x), self.kv(x if context is None else context)
        if extra is not None:
            k, v = (beside(own, more) for own, more in zip((k, v), extra, strict=True))
        q, k, v = (rearrange(a, "n l (h d) -> n h l d", h=self.heads) for a in (q, k, v))
        return self.to_out[0](rearrange(self.attend(q, k, v), "n h l d -> n l (h d)"))

    def one_token(self, token: Tensor) -> Tensor:
        """Attention output [B, 1, C] for a one-token context [B, 1, D].

        It is the same for every query, because softmax over one key is 1. Raises ValueError for more tokens.
        """
        if token.shape[1] != 1:
            raise ValueError(f"expected an image embedding of one token [B, 1, D], got {tuple(token.shape)}")
        return self.to_out[0](self.to_v(token))


class ReferenceTransformerBlock(nn.Module):
    """Self-attention that also attends to reference tokens, then image cross-attention, then feed-forward."""

    def __init__(self, dim: int, context_dim: int, heads: int, ops: Ops) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (ops.LayerNorm(dim) for _ in range(3))
        self.attn1 = Attention(dim, heads=heads, ops=ops)
        self.attn2 = Attention(dim, context_dim, heads, ops)
        self.ff = FeedForward(dim, ops)

    def forward(self, x: Tensor, tokens: Tensor, reference: KV | None, image: Tensor) -> Tensor:
        """`x` [(B F), L, C] -> same; `tokens` is `norm1(x)`, `image` [B, 1, C] the result of `attn2.one_token`."""
        x = x + self.attn1(tokens, extra=reference)
        x = x + repeat(image, "b 1 c -> (b f) 1 c", f=len(x) // len(image))
        return x + self.ff(self.norm3(x))


class SpatialTransformer(nn.Module):
    """One `ReferenceTransformerBlock` over the positions of each frame: [(B F), C, h, w] -> same."""

    def __init__(self, dim: int, context_dim: int, heads: int, groups: int, ops: Ops) -> None:
        super().__init__()
        self.norm = ops.GroupNorm(groups, dim, eps=1e-6)
        self.proj_in, self.proj_out = ops.Conv2d(dim, dim, 1), ops.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([ReferenceTransformerBlock(dim, context_dim, heads, ops)])

    @property
    def block(self) -> ReferenceTransformerBlock:
        return cast("ReferenceTransformerBlock", self.transformer_blocks[0])

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's input [(B F), L, C], and its normalised tokens, which the reference UNet records."""
        inner = rearrange(self.proj_in(self.norm(x)), "n c h w -> n (h w) c")
        return inner, self.block.norm1(inner)

    def forward(self, x: Tensor, reference: KV | None, image: Tensor) -> Tensor:
        inner = self.block(*self.embed(x), reference, image)
        return x + self.proj_out(rearrange(inner, "n (h w) c -> n c h w", h=x.shape[2]))


class PositionalEncoding(nn.Module):
    """Adds sinusoidal positions to [N, L, C]; raises ValueError if L > count.

    The buffer is computed here, although the published checkpoints also contain it.
    """

    pe: Tensor

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.register_buffer("pe", interleaved_positions(count, dim))

    def forward(self, x: Tensor) -> Tensor:
        count = self.pe.shape[1]
        if x.shape[1] > count:
            raise ValueError(f"{x.shape[1]} frames in flight, but the temporal modules know {count}: use fewer windows")
        return x + self.pe[:, : x.shape[1]].to(x)


class MotionTransformerBlock(nn.Module):
    """`count` attention layers, then a feed-forward layer: [N, L, C] -> same.

    With a `context_dim` they are cross-attention. With `positions` > 0 they are temporal: positions are added.
    """

    def __init__(self, dim: int, context_dim: int | None, positions: int, heads: int, ops: Ops, count: int = 2) -> None:
        super().__init__()
        self.attention_blocks = nn.ModuleList(Attention(dim, context_dim, heads, ops) for _ in range(count))
        self.norms = nn.ModuleList(ops.LayerNorm(dim) for _ in range(count))
        self.ff, self.ff_norm = FeedForward(dim, ops), ops.LayerNorm(dim)
        if positions:
            for attention in self.attention_blocks:
                attention.pos_encoder = PositionalEncoding(dim, positions)
        self.temporal = positions > 0

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            tokens = norm(x)
            x = x + attention(attention.pos_encoder(tokens) if self.temporal else tokens, context)
        return x + self.ff(self.ff_norm(x))


class MotionTransformer(nn.Module):
    """A motion module (spatial cross-attention to motion tokens) or a temporal module (attention over frames).

    A `motion_dim` makes it a motion module; None makes it a temporal module.
    """

    def __init__(
        self, dim: int, motion_dim: int | None, heads: int, groups: int, ops: Ops, chunk_frames: int = 0
    ) -> None:
        """A temporal module attends within chunks of `chunk_frames` frames; 0: over all frames."""
        super().__init__()
        self.chunk_frames = chunk_frames
        positions = 0 if motion_dim else 32  # temporal modules have positions for 32 frames in flight
        inner = self.temporal_transformer = nn.Module()
        inner.norm = ops.GroupNorm(groups, dim, eps=1e-6)
        inner.proj_in, inner.proj_out = ops.Linear(dim, dim), ops.Linear(dim, dim)
        inner.transformer_blocks = nn.ModuleList([MotionTransformerBlock(dim, motion_dim, positions, heads, ops)])
        self.temporal = positions > 0

    def forward(self, x: Tensor, motion: Tensor, frames: int) -> Tensor:
        """`x` [(B F), C, h, w] -> same; `motion` [(B F), L, D] is used by motion modules only; `frames` is F."""
        inner, height = self.temporal_transformer, x.shape[2]
        tokens = inner.proj_in(rearrange(inner.norm(x), "n c h w -> n (h w) c"))
        if self.temporal:
            size = self.chunk_frames or frames
            tokens = rearrange(tokens, "(b n f) l c -> (b l n) f c", n=frames // size, f=size)
            tokens = inner.transformer_blocks[0](tokens)
            tokens = rearrange(tokens, "(b l n) f c -> (b n f) l c", n=frames // size, l=x.shape[2] * x.shape[3])
        else:
            tokens = inner.transformer_blocks[0](tokens, motion)
        return x + rearrange(inner.proj_out(tokens), "n (h w) c -> n c h w", h=height)
