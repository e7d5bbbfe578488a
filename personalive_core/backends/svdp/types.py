"""Values of the three-latent canvas: sizes of the transformer, conditions of a clip, its history, scales of fusion."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...modules.fusion import PUBLISHED_SCALES, Fusion

SEGMENT_FRAMES, HISTORY_FRAMES = 16, 3  # new frames of a segment, and frames of the one before (arXiv 2509.17476)


@dataclass(frozen=True)
class TransformerSizes:
    """Sizes of diffusers' SD3Transformer2DModel, by its names; the defaults are Stable Diffusion 3.5 Medium's."""

    sample_size: int = 128
    patch_size: int = 2
    in_channels: int = 16
    num_layers: int = 24
    attention_head_dim: int = 64
    num_attention_heads: int = 24
    joint_attention_dim: int = 4096
    pooled_projection_dim: int = 2048
    pos_embed_max_size: int = 384
    dual_attention_layers: tuple[int, ...] = tuple(range(13))

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.attention_head_dim * self.num_attention_heads


SD35_MEDIUM = TransformerSizes()


@dataclass(frozen=True, eq=False)
class ClipHistory:
    """The H frames before a clip, in a stream or in training."""

    latents: Tensor  # [B, H, C, h, w] clean
    driving: Tensor  # [B, H, C, h, w] latents of their own masked driving


@dataclass(frozen=True, eq=False)
class ClipConditions:
    """What B clips of F frames are drawn from; latents of C channels and h x w cells. Zeros mean: not given."""

    source: Tensor  # [B, C, h, w]
    driving: Tensor  # [B, F, C, h, w] latents of the masked driving
    history: ClipHistory | None = None  # None: zeroed, as in the first stage of training and a stream's first segment

    def without_history(self) -> ClipConditions:
        """The same with history zeroed."""
        return replace(self, history=None)

    def without_driving(self) -> ClipConditions:
        """The same with driving and history zeroed."""
        return replace(self, driving=torch.zeros_like(self.driving), history=None)

    def without_all(self) -> ClipConditions:
        """The same with everything zeroed."""
        return replace(self.without_driving(), source=torch.zeros_like(self.source))


@dataclass(frozen=True)
class FusionScales(Fusion):
    """`Fusion` with the published scales."""

    source: float = PUBLISHED_SCALES[0]
    driving: float = PUBLISHED_SCALES[1]
    history: float = PUBLISHED_SCALES[2]
