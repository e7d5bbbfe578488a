"""The layers of a video UNet that are diffusers' own, made of the layers of `ops`; the library is imported here."""

from __future__ import annotations

from torch import nn

from .layers import Ops, with_ops


def residual_block(before: int, after: int, time_dim: int, eps: float, ops: Ops) -> nn.Module:
    """A spatial and a temporal residual block, mixed: ([(B F), C, h, w], [(B F), T], [B, F]) -> [(B F), C', h, w]."""
    from diffusers.models.resnet import SpatioTemporalResBlock

    return with_ops(SpatioTemporalResBlock(before, after, time_dim, eps), ops)


def halving(dim: int, ops: Ops) -> nn.Module:
    """[N, C, h, w] -> [N, C, h / 2, w / 2]."""
    from diffusers.models.downsampling import Downsample2D

    return with_ops(Downsample2D(dim, use_conv=True, out_channels=dim, name="op"), ops)


def doubling(dim: int, ops: Ops) -> nn.Module:
    """[N, C, h, w] -> [N, C, H, W], of the size (H, W) that is given."""
    from diffusers.models.upsampling import Upsample2D

    return with_ops(Upsample2D(dim, use_conv=True, out_channels=dim), ops)


def sinusoids(dim: int) -> nn.Module:
    """Numbers [N] -> [N, C] float32."""
    from diffusers.models.embeddings import Timesteps

    return Timesteps(dim, True, 0)


def embedding(dim: int, inner: int, out: int, ops: Ops) -> nn.Module:
    """Two layers: [N, C] -> [N, out]."""
    from diffusers.models.embeddings import TimestepEmbedding

    return with_ops(TimestepEmbedding(dim, inner, out_dim=out), ops)


def mixer() -> nn.Module:
    """Mixes a spatial and a temporal answer by a learned weight; see diffusers' AlphaBlender."""
    from diffusers.models.resnet import AlphaBlender

    return AlphaBlender(0.5, "learned_with_images")
