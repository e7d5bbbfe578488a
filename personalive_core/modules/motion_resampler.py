"""Motion resampler: an expression and how strongly face and head move, as tokens for the video UNet."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .layers import Ops, attention_function

LEVELS = 128  # of the intensity of either movement


@dataclass(frozen=True)
class ResamplerConfig:
    """Shapes of the resampler; by default the published ones."""

    input_dim: int = 512
    output_dim: int = 1018
    queries: int = 64
    width: int = 768
    layers: int = 6
    heads: int = 8


class PackedAttention(nn.Module):
    """Multi-head attention whose projections are one matrix, as torch's MultiheadAttention names them."""

    def __init__(self, dim: int, heads: int, ops: Ops = nn) -> None:
        super().__init__()
        self.heads, self.attend = heads, attention_function(ops)
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * dim))
        self.out_proj = ops.Linear(dim, dim)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.in_proj_bias)

    def project(self, x: Tensor, part: int) -> Tensor:
        """Queries, keys or values (`part` 0, 1, 2) of `x` [..., C]."""
        weight, bias = (whole.chunk(3)[part].to(x) for whole in (self.in_proj_weight, self.in_proj_bias))
        return functional.linear(x, weight, bias)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """`x` [N, L, C] attends to `context` [N, M, C]; gives [N, L, C]."""
        given = (x, context, context)
        q, k, v = (
            rearrange(self.project(source, part), "n l (h c) -> n h l c", h=self.heads)
            for part, source in enumerate(given)
        )
        return self.out_proj(rearrange(self.attend(q, k, v), "n h l c -> n l (h c)"))


class ModulatedNorm(nn.Module):
    """A layer norm whose shift and scale come from an embedding."""

    def __init__(self, dim: int, ops: Ops) -> None:
        super().__init__()
        self.linear = ops.Linear(dim, 2 * dim)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """`x` [N, L, C] -> same, by an `embedding` [N, C]."""
        shift, scale = self.linear(functional.silu(embedding))[:, None].chunk(2, -1)
        return functional.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale) + shift


class ResamplerBlock(nn.Module):
    """Queries attend to themselves and to the input, then a feed-forward layer."""

    def __init__(self, config: ResamplerConfig, ops: Ops) -> None:
        super().__init__()
        self.attn = PackedAttention(config.width, config.heads, ops)
        self.mlp = nn.Module()
        self.mlp.c_fc, self.mlp.c_proj = (
            ops.Linear(before * config.width, after * config.width) for before, after in pairwise((1, 4, 1))
        )
        self.ln_1, self.ln_2, self.ln_ff = (ModulatedNorm(config.width, ops) for _ in range(3))

    def forward(self, queries: Tensor, x: Tensor, embedding: Tensor) -> Tensor:
        """`queries` [N, L, C] -> same; `x` [N, 1, C] is the input, `embedding` [N, C] that of the intensities."""
        own = self.ln_1(queries, embedding)
        queries = queries + self.attn(own, torch.cat([own, self.ln_2(x, embedding)], 1))
        inner = functional.relu(self.mlp.c_fc(self.ln_ff(queries, embedding))).square()
        return queries + self.mlp.c_proj(inner)


class MotionResampler(nn.Module):
    """Expressions [N, 512] and their intensities -> tokens [N, 64, 1018]; no frame sees another."""

    def __init__(self, config: ResamplerConfig = ResamplerConfig(), ops: Ops = nn) -> None:
        super().__init__()
        width = config.width
        self.position_head, self.position_exp = nn.Embedding(LEVELS, width), nn.Embedding(LEVELS, width)
        inner = self.connector = nn.Module()
        inner.latents = nn.Parameter(torch.zeros(config.queries, width))
        inner.intensity_aware_linear = ops.Linear(width, width)
        inner.proj_in = ops.Linear(config.input_dim, width)
        inner.perceiver_blocks = nn.ModuleList(ResamplerBlock(config, ops) for _ in range(config.layers))
        inner.proj_out = nn.Sequential(ops.Linear(width, config.output_dim), ops.LayerNorm(config.output_dim))

    def forward(self, expression: Tensor, head: Tensor, face: Tensor) -> Tensor:
        """`head` and `face` [N] int64 in 0..127 say how strongly the head and the expression move."""
        inner = self.connector
        embedding = self.position_head.weight.to(expression)[head] + self.position_exp.weight.to(expression)[face]
        intensity = inner.intensity_aware_linear(functional.silu(embedding))
        queries = inner.latents.to(expression) + intensity[:, None]
        x = inner.proj_in(expression)[:, None]
        for block in inner.perceiver_blocks:
            queries = block(queries, x, embedding)
        return inner.proj_out(queries)
