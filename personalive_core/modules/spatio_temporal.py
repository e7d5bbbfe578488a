"""Attention of a video UNet under two conditions: over each frame's positions, then over each position's frames."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from .attention import Attention
from .kernels import kernels_of
from .layers import FeedForward, Ops
from .video_parts import embedding, mixer, sinusoids

GROUPS, HEAD_DIM = 32, 64  # of every norm and attention of Stable Video Diffusion (arXiv 2311.15127)


@dataclass(frozen=True)
class PairedTokens:
    """Two conditions, whose attentions are added: how the person looks, and how it moves."""

    image: Tensor  # [B F, L, D]
    motion: Tensor  # [B F, M, D]

    def over_frames(self, frames: int) -> PairedTokens:
        """The mean of every `frames` frames: [B, L, D] and [B, M, D]."""
        parts = (rearrange(part, "(b f) l d -> b f l d", f=frames).mean(1) for part in (self.image, self.motion))
        return PairedTokens(*parts)


class PairedAttention(Attention):
    """Cross-attention to two conditions: the same queries, keys and values of each, the answers added."""

    def __init__(self, dim: int, context_dim: int, heads: int, ops: Ops) -> None:
        super().__init__(dim, context_dim, heads, ops)
        motion = self.processor = nn.Module()  # the checkpoint's name
        motion.to_k_ip = nn.ModuleList([ops.Linear(context_dim, dim, bias=False)])
        motion.to_v_ip = nn.ModuleList([ops.Linear(context_dim, dim, bias=False)])

    def paired(self, x: Tensor, tokens: PairedTokens) -> Tensor:
        """`x` [N, L, C] attends to `tokens` of N items; gives [N, L, C]."""
        q, motion = self.to_q(x), self.processor
        look = self.kernels.attention(q, *self.kv(tokens.image), self.heads, self.attend)
        moves = motion.to_k_ip[0](tokens.motion), motion.to_v_ip[0](tokens.motion)
        return self.to_out[0](look + self.kernels.attention(q, *moves, self.heads, self.attend))


class PairedTransformerBlock(nn.Module):
    """Self-attention, cross-attention to both conditions, feed-forward: [(B F), L, C] -> same.

    A temporal one begins with a second feed-forward, and each token attends to those of its place in the other frames.
    """

    def __init__(self, dim: int, context_dim: int, ops: Ops, temporal: bool = False) -> None:
        super().__init__()
        heads = dim // HEAD_DIM
        self.temporal = temporal
        if temporal:
            self.norm_in, self.ff_in = ops.LayerNorm(dim), FeedForward(dim, ops)
        self.norm1, self.norm2, self.norm3 = (ops.LayerNorm(dim) for _ in range(3))
        self.attn1 = Attention(dim, heads=heads, ops=ops)
        self.attn2 = PairedAttention(dim, context_dim, heads, ops)
        self.ff = FeedForward(dim, ops)

    def forward(self, x: Tensor, tokens: PairedTokens, frames: int) -> Tensor:
        """`tokens` are each frame's own; for a temporal block those of each clip, see `PairedTokens.over_frames`."""
        if self.temporal:
            x = x + self.ff_in(self.norm_in(x))
            x = x + self.attn1.over_frames(self.norm1(x), frames)
            # all positions of all frames see the same tokens, so their keys are made once
            clip = rearrange(self.norm2(x), "(b f) l c -> b (f l) c", f=frames)
            x = x + rearrange(self.attn2.paired(clip, tokens), "b (f l) c -> (b f) l c", f=frames)
        else:
            x = x + self.attn1(self.norm1(x))
            x = x + self.attn2.paired(self.norm2(x), tokens)
        return x + self.ff(self.norm3(x))


class SpatioTemporalTransformer(nn.Module):
    """A spatial and a temporal block, mixed by a learned weight: [(B F), C, h, w] -> same."""

    def __init__(self, dim: int, context_dim: int, ops: Ops) -> None:
        super().__init__()
        self.kernels = kernels_of(ops)
        self.norm = ops.GroupNorm(GROUPS, dim, eps=1e-6)
        self.proj_in, self.proj_out = ops.Linear(dim, dim), ops.Linear(dim, dim)
        self.transformer_blocks = nn.ModuleList([PairedTransformerBlock(dim, context_dim, ops)])
        self.temporal_transformer_blocks = nn.ModuleList([PairedTransformerBlock(dim, context_dim, ops, True)])
        self.time_proj = sinusoids(dim)
        self.time_pos_embed = embedding(dim, 4 * dim, dim, ops)
        self.time_mixer = mixer()

    def forward(self, x: Tensor, tokens: PairedTokens, still: Tensor) -> Tensor:
        """`tokens` are each frame's; `still` [B, F] is 1 where a frame stands alone, else 0."""
        frames = still.shape[1]
        inner = self.proj_in(rearrange(self.kernels.group_norm(x, self.norm), "n c h w -> n (h w) c"))
        spatial = self.transformer_blocks[0](inner, tokens, frames)
        place = self.time_proj(torch.arange(frames, device=x.device).repeat(len(still))).to(x.dtype)
        moving = spatial + self.time_pos_embed(place)[:, None]
        temporal = self.temporal_transformer_blocks[0](moving, tokens.over_frames(frames), frames)
        mixed = self.time_mixer(x_spatial=spatial, x_temporal=temporal, image_only_indicator=still)
        return x + rearrange(self.proj_out(mixed), "n (h w) c -> n c h w", h=x.shape[2])
