"""Video attention: tokens of all frames of a clip and its history, each with all others, with a time code."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from ...modules.layers import concatenated_positions


class VideoAttention(nn.Module):
    """Attention over frames and places at once: [B, T, S, D] -> what is added to it. Zero until it is trained."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(dim, eps=1e-6, elementwise_affine=False)
        self.to_q, self.to_k, self.to_v, self.to_out = (nn.Linear(dim, dim) for _ in range(4))
        self.norm_q, self.norm_k = (nn.RMSNorm(dim // heads, eps=1e-6) for _ in range(2))  # as in SD3.5's own
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, tokens: Tensor, times: Tensor) -> Tensor:
        """`times` [T] are the frames' places in the clip; those of history are below 0."""
        x = self.norm(tokens)
        coded = x + concatenated_positions(times, x.shape[-1])[:, None].to(x)  # values carry no time
        q, k, v = (
            rearrange(part, "b t s (h d) -> b h (t s) d", h=self.heads)
            for part in (self.to_q(coded), self.to_k(coded), self.to_v(x))
        )
        found = functional.scaled_dot_product_attention(self.norm_q(q), self.norm_k(k), v)
        out: Tensor = self.to_out(rearrange(found, "b h (t s) d -> b t s (h d)", t=tokens.shape[1]))
        return out


def clip_times(history: int, frames: int, device: torch.device) -> Tensor:
    """Places in the clip: -history to -1, then 0 to frames - 1."""
    return torch.arange(-history, frames, device=device)
