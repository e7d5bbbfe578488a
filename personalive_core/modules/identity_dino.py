"""DINOv2 with registers (arXiv 2304.07193, 2309.16588) whose adapters add a person's identity: a portrait as tokens."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from .layers import BatchNorm2d, Ops, attention_function
from .motion_resampler import PackedAttention

IDENTITY_DIM = 512
_ADAPTER_HEADS, _ADAPTER_ATTENTION = 8, 256
_ADAPTER_WEIGHT = 0.2
_HEAD_DIM = 64
_OFFSET = 0.1  # is added to the grid's side before its positions are interpolated, as DINOv2's own code does


@dataclass(frozen=True)
class DinoConfig:
    """Shapes of the encoder; by default those of ViT-L/14."""

    dim: int = 1024
    depth: int = 24
    adapters: tuple[int, ...] = (3, 7, 11, 15, 19, 23)  # the blocks that have one
    adapter_dim: int = 384
    grid: int = 37  # patches a side that the positions were trained on
    patch: int = 14
    registers: int = 4


class IdentityAttention(nn.Module):
    """Cross-attention of patches to the one token of an identity.

    Softmax over one key is 1, so the answer is the identity's value, whatever the queries are.
    """

    def __init__(self, dim: int, ops: Ops) -> None:
        super().__init__()
        self.multihead_attn = PackedAttention(_ADAPTER_ATTENTION, _ADAPTER_HEADS, ops)
        self.image_proj = ops.Linear(dim, _ADAPTER_ATTENTION)  # the queries'
        self.id_proj = ops.Linear(IDENTITY_DIM, _ADAPTER_ATTENTION)
        self.back_proj = ops.Linear(_ADAPTER_ATTENTION, dim)

    def forward(self, identity: Tensor) -> Tensor:
        """[N, 1, 512] -> [N, 1, C], for every patch."""
        attention = self.multihead_attn
        return self.back_proj(attention.out_proj(attention.project(self.id_proj(identity), 2)))


class IdentityAdapter(nn.Module):
    """Adds the identity to an encoder's tokens, beside its feed-forward layer.

    The convolutions made the queries of the attention, which have no effect: their weights are kept, and never used.
    """

    def __init__(self, config: DinoConfig, ops: Ops) -> None:
        super().__init__()
        width = config.adapter_dim
        branch = partial(_branch, width, ops=ops)
        self.branch1 = branch(width // 2, 1)
        self.branch2 = nn.Sequential(branch(width // 16, 1), _branch(width // 16, width // 4, 3, ops))
        self.branch3 = nn.Sequential(branch(width // 16, 1), _branch(width // 16, width // 4, 5, ops))
        self.D_fc1, self.D_fc2 = ops.Linear(config.dim, width), ops.Linear(width, config.dim)
        self.cross_attn = IdentityAttention(width, ops)

    def forward(self, x: Tensor, identity: Tensor, others: int) -> Tensor:
        """`x` [N, L, C] -> same; its first `others` tokens are no patches; `identity` [N, 1, 512]."""
        inner = functional.relu(self.D_fc1(x))
        patches = inner[:, others:] + self.cross_attn(identity)
        return self.D_fc2(torch.cat([2 * inner[:, :others], patches], 1))


class _Scale(nn.Module):
    """Multiplies each channel by a learned number."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma.to(x)


class DinoBlock(nn.Module):
    """Self-attention, then a feed-forward layer with an adapter beside it, if there is one: [N, L, C] -> same."""

    def __init__(self, config: DinoConfig, adapts: bool, ops: Ops) -> None:
        super().__init__()
        dim = config.dim
        self.heads, self.attend = dim // _HEAD_DIM, attention_function(ops)
        self.norm1, self.norm2 = ops.LayerNorm(dim, eps=1e-6), ops.LayerNorm(dim, eps=1e-6)
        self.ls1, self.ls2 = _Scale(dim), _Scale(dim)
        self.attn, self.mlp = nn.Module(), nn.Module()
        self.attn.qkv, self.attn.proj = ops.Linear(dim, 3 * dim), ops.Linear(dim, dim)
        self.mlp.fc1, self.mlp.fc2 = ops.Linear(dim, 4 * dim), ops.Linear(4 * dim, dim)
        self.adapter = IdentityAdapter(config, ops) if adapts else None

    def forward(self, x: Tensor, identity: Tensor, others: int) -> Tensor:
        q, k, v = rearrange(self.attn.qkv(self.norm1(x)), "n l (p h c) -> p n h l c", p=3, h=self.heads)
        x = x + self.ls1(self.attn.proj(rearrange(self.attend(q, k, v), "n h l c -> n l (h c)")))
        tokens = self.norm2(x)
        inner = self.mlp.fc2(functional.gelu(self.mlp.fc1(tokens)))
        if self.adapter is not None:
            inner = inner + _ADAPTER_WEIGHT * self.adapter(tokens, identity, others)
        return x + self.ls2(inner)


class IdentityDino(nn.Module):
    """A portrait [N, 3, 224, 224] and its identity [N, 1, 512] -> tokens [N, 261, C]: class, 4 registers, patches."""

    def __init__(self, config: DinoConfig = DinoConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.config, dim = config, config.dim
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + config.grid**2, dim))
        self.register_tokens = nn.Parameter(torch.zeros(1, config.registers, dim))
        self.mask_token = nn.Parameter(torch.zeros(1, dim))  # of the training; never used
        self.patch_embed = nn.Module()
        self.patch_embed.proj = ops.Conv2d(3, dim, config.patch, stride=config.patch)
        self.blocks = nn.ModuleList(DinoBlock(config, index in config.adapters, ops) for index in range(config.depth))
        self.norm = ops.LayerNorm(dim, eps=1e-6)

    def positions(self, side: int, like: Tensor) -> Tensor:
        """Positions [1, 1 + side^2, C] of the class and of side x side patches, in the device and dtype of `like`."""
        own, grid = self.pos_embed.to(like.device, torch.float32), self.config.grid
        patches = rearrange(own[:, 1:], "n (h w) c -> n c h w", h=grid)
        patches = functional.interpolate(patches, scale_factor=(side + _OFFSET) / grid, mode="bicubic")
        return torch.cat([own[:, :1], rearrange(patches, "n c h w -> n (h w) c")], 1).to(like.dtype)

    def forward(self, portrait: Tensor, identity: Tensor) -> Tensor:
        patches = self.patch_embed.proj(portrait)
        positions = self.positions(patches.shape[-1], patches)
        patches = rearrange(patches, "n c h w -> n (h w) c") + positions[:, 1:]
        first = (self.cls_token.to(patches) + positions[:, :1]).expand(len(patches), -1, -1)
        registers = self.register_tokens.to(patches).expand(len(patches), -1, -1)
        x = torch.cat([first, registers, patches], 1)
        for block in self.blocks:
            x = block(x, identity.to(x), 1 + self.config.registers)
        return self.norm(x)


def _branch(before: int, after: int, size: int, ops: Ops) -> nn.Module:
    """A convolution and its norm."""
    part = nn.Module()
    part.conv, part.bn = ops.Conv2d(before, after, size, padding=size // 2), BatchNorm2d(after)
    return part
