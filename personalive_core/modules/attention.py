"""Attention that takes extra keys and values as arguments, and the transformer layers built from it."""

from __future__ import annotations

from typing import cast

from einops import rearrange
from torch import Tensor, nn

from .inputs import KV
from .kernels import kernels_of
from .layers import FeedForward, Ops, attention_function, interleaved_positions

TEMPORAL_FRAMES = 32  # positions that a temporal module knows: the most frames that see one another


class Attention(nn.Module):
    """Multi-head attention: [N, L, C] -> [N, L, C]."""

    def __init__(self, dim: int, context_dim: int | None = None, heads: int = 8, ops: Ops = nn) -> None:
        super().__init__()
        self.heads = heads
        self.attend, self.kernels = attention_function(ops), kernels_of(ops)
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
        context = x if context is None else context
        if extra is None:
            k, v = self.kv(context)
        else:
            layers = (self.to_k, self.to_v)
            k, v = (self.kernels.beside(context, layer, more) for layer, more in zip(layers, extra, strict=True))
        return self.to_out[0](self.kernels.attention(self.to_q(x), k, v, self.heads, self.attend))

    def over_frames(self, x: Tensor, frames: int) -> Tensor:
        """Each position of `x` [(G F), L, C] attends to the same position of the F frames of its group; same shape."""
        q, (k, v) = self.to_q(x), self.kv(x)
        return self.to_out[0](self.kernels.frames(q, k, v, self.heads, frames, self.attend))

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
        self.kernels = kernels_of(ops)
        self.norm1, self.norm2, self.norm3 = (ops.LayerNorm(dim) for _ in range(3))
        self.attn1 = Attention(dim, heads=heads, ops=ops)
        self.attn2 = Attention(dim, context_dim, heads, ops)
        self.ff = FeedForward(dim, ops)

    def forward(self, x: Tensor, tokens: Tensor, reference: KV | None, image: Tensor) -> Tensor:
        """`x` [(B F), L, C] -> same; `tokens` is `norm1(x)`, `image` [B, 1, C] the result of `attn2.one_token`."""
        x, tokens = self.kernels.add_norm(x, self.attn1(tokens, extra=reference), self.norm3, token=image)
        return x + self.ff(tokens)


class SpatialTransformer(nn.Module):
    """One `ReferenceTransformerBlock` over the positions of each frame: [(B F), C, h, w] -> same."""

    def __init__(self, dim: int, context_dim: int, heads: int, groups: int, ops: Ops) -> None:
        super().__init__()
        self.kernels = kernels_of(ops)
        self.norm = ops.GroupNorm(groups, dim, eps=1e-6)
        self.proj_in, self.proj_out = ops.Conv2d(dim, dim, 1), ops.Conv2d(dim, dim, 1)
        self.transformer_blocks = nn.ModuleList([ReferenceTransformerBlock(dim, context_dim, heads, ops)])

    @property
    def block(self) -> ReferenceTransformerBlock:
        return cast("ReferenceTransformerBlock", self.transformer_blocks[0])

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The block's input [(B F), L, C], and its normalised tokens, which the reference UNet records."""
        inner = self.kernels.pointwise(self.kernels.group_norm(x, self.norm), self.proj_in)
        return self.kernels.add_norm(rearrange(inner, "n c h w -> n (h w) c"), None, self.block.norm1)

    def forward(self, x: Tensor, reference: KV | None, image: Tensor) -> Tensor:
        inner = self.block(*self.embed(x), reference, image)
        return x + self.kernels.pointwise(rearrange(inner, "n (h w) c -> n c h w", h=x.shape[2]), self.proj_out)


class PositionalEncoding(nn.Module):
    """Sinusoidal positions [frames, 1, C] in the device and dtype of `like`; raises ValueError if frames > count.

    The buffer is computed here, although the published checkpoints also contain it.
    """

    pe: Tensor

    def __init__(self, dim: int, count: int) -> None:
        super().__init__()
        self.register_buffer("pe", interleaved_positions(count, dim))

    def forward(self, frames: int, like: Tensor) -> Tensor:
        count = self.pe.shape[1]
        if frames > count:
            raise ValueError(f"{frames} frames in flight, but the temporal modules know {count}: use fewer windows")
        return self.pe[0, :frames, None].to(like)


class MotionTransformerBlock(nn.Module):
    """`count` attention layers, then a feed-forward layer: [N, L, C] -> same.

    With a `context_dim` they are cross-attention. With `positions` > 0 they are temporal: positions are added, and each
    token attends to those of the same place in the `frames` items of its group.
    """

    def __init__(self, dim: int, context_dim: int | None, positions: int, heads: int, ops: Ops, count: int = 2) -> None:
        super().__init__()
        self.kernels = kernels_of(ops)
        self.attention_blocks = nn.ModuleList(Attention(dim, context_dim, heads, ops) for _ in range(count))
        self.norms = nn.ModuleList(ops.LayerNorm(dim) for _ in range(count))
        self.ff, self.ff_norm = FeedForward(dim, ops), ops.LayerNorm(dim)
        if positions:
            for attention in self.attention_blocks:
                attention.pos_encoder = PositionalEncoding(dim, positions)
        self.temporal = positions > 0

    def forward(self, x: Tensor, context: Tensor | None = None, frames: int = 1) -> Tensor:
        added = None
        for attention, norm in zip(self.attention_blocks, self.norms, strict=True):
            positions = attention.pos_encoder(frames, x) if self.temporal else None
            x, tokens = self.kernels.add_norm(x, added, norm, positions=positions)
            added = attention.over_frames(tokens, frames) if self.temporal else attention(tokens, context)
        x, tokens = self.kernels.add_norm(x, added, self.ff_norm)
        return x + self.ff(tokens)


class MotionTransformer(nn.Module):
    """A motion module (spatial cross-attention to motion tokens) or a temporal module (attention over frames).

    A `motion_dim` makes it a motion module; None makes it a temporal module.
    """

    def __init__(
        self, dim: int, motion_dim: int | None, heads: int, groups: int, ops: Ops, chunk_frames: int = 0
    ) -> None:
        """A temporal module attends within chunks of `chunk_frames` frames; 0: over all frames."""
        super().__init__()
        self.chunk_frames, self.kernels = chunk_frames, kernels_of(ops)
        positions = 0 if motion_dim else TEMPORAL_FRAMES
        inner = self.temporal_transformer = nn.Module()
        inner.norm = ops.GroupNorm(groups, dim, eps=1e-6)
        inner.proj_in, inner.proj_out = ops.Linear(dim, dim), ops.Linear(dim, dim)
        inner.transformer_blocks = nn.ModuleList([MotionTransformerBlock(dim, motion_dim, positions, heads, ops)])
        self.temporal = positions > 0

    def forward(self, x: Tensor, motion: Tensor, frames: int) -> Tensor:
        """`x` [(B F), C, h, w] -> same; `motion` [(B F), L, D] is used by motion modules only; `frames` is F."""
        inner = self.temporal_transformer
        tokens = inner.proj_in(rearrange(self.kernels.group_norm(x, inner.norm), "n c h w -> n (h w) c"))
        if self.temporal:
            tokens = inner.transformer_blocks[0](tokens, frames=self.chunk_frames or frames)
        else:
            tokens = inner.transformer_blocks[0](tokens, motion)
        return x + rearrange(inner.proj_out(tokens), "n (h w) c -> n c h w", h=x.shape[2])
