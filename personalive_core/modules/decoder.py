"""The decoders of Stable Diffusion's two autoencoders from an `ops` namespace, with the keys of diffusers' decoders.

They stand in for diffusers' own where the namespace has fused functions: those fuse what lies between layers, which
replaced layers alone cannot. Their mathematics is the library's.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from .kernels import PLAIN, kernels_of
from .layers import Ops, attention_function, with_ops
from .unet import Resample, Resnet

RGB = 3
_EPS = 1e-6  # of every norm of AutoencoderKL
# The values of a config under which diffusers' decoder computes what the class here does; a missing key has them too.
_KL = {"act_fn": "silu", "mid_block_add_attention": True}
_TINY = {"act_fn": "relu", "upsample_fn": "nearest", "upsampling_scaling_factor": 2}


class MidAttention(nn.Module):
    """Self-attention of one head over all positions, with its residual: [N, C, h, w] -> same."""

    def __init__(self, channels: int, groups: int, ops: Ops) -> None:
        super().__init__()
        self.attend, self.kernels = attention_function(ops), kernels_of(ops)
        self.group_norm = ops.GroupNorm(groups, channels, eps=_EPS)
        self.to_q, self.to_k, self.to_v = (ops.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([ops.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        tokens = rearrange(self.kernels.group_norm(x, self.group_norm), "n c h w -> n (h w) c")
        found = self.kernels.attention(self.to_q(tokens), self.to_k(tokens), self.to_v(tokens), 1, self.attend)
        return rearrange(self.to_out[0](found), "n (h w) c -> n c h w", h=x.shape[2]) + x


class KLDecoder(nn.Module):
    """AutoencoderKL's decoder: latents [N, 4, h, w] -> pictures [N, 3, H, W] in [-1, 1]."""

    def __init__(self, widths: Sequence[int], layers: int, groups: int, latent_channels: int, ops: Ops) -> None:
        """`widths` from the picture inwards; `layers` residual blocks per level, and one more, as diffusers counts."""
        super().__init__()
        self.kernels = kernels_of(ops)

        def block(channels_in: int, channels: int) -> Resnet:
            return Resnet(channels_in, channels, None, groups, ops, _EPS)

        last = widths[-1]
        self.conv_in = ops.Conv2d(latent_channels, last, 3, padding=1)
        self.mid_block = nn.Module()
        self.mid_block.resnets = nn.ModuleList(block(last, last) for _ in range(2))
        self.mid_block.attentions = nn.ModuleList([MidAttention(last, groups, ops)])
        self.up_blocks = nn.ModuleList()
        for i, width in enumerate(reversed(widths)):
            level = nn.Module()
            level.resnets = nn.ModuleList(block(c, width) for c in (last, *[width] * layers))
            if i < len(widths) - 1:
                level.upsamplers = nn.ModuleList([Resample(width, up=True, ops=ops)])
            self.up_blocks.append(level)
            last = width
        self.conv_norm_out = ops.GroupNorm(groups, last, eps=_EPS)
        self.conv_out = ops.Conv2d(last, RGB, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.mid_block
        x = middle.resnets[1](middle.attentions[0](middle.resnets[0](self.conv_in(x))))
        for level in self.up_blocks:
            for layers in level.children():
                for layer in layers.children():
                    x = layer(x)
        return self.conv_out(self.kernels.group_norm(x, self.conv_norm_out, silu=True))


class TinyBlock(nn.Module):
    """Three convolutions with ReLU between them, a residual, and a ReLU: [N, C, h, w] -> same."""

    def __init__(self, channels: int, ops: Ops) -> None:
        super().__init__()
        self.kernels = kernels_of(ops)
        convolutions = [ops.Conv2d(channels, channels, 3, padding=1) for _ in range(3)]
        self.conv = nn.ModuleList([convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU(), convolutions[2]])

    def forward(self, x: Tensor) -> Tensor:
        kernels, inner = self.kernels, x
        for convolution in (self.conv[0], self.conv[2]):
            inner, bias = kernels.convolution(inner, convolution)
            inner = kernels.add(inner, None, bias, relu=True)
        inner, bias = kernels.convolution(inner, self.conv[4])
        return kernels.add(inner, x, bias, relu=True)


class TinyDecoder(nn.Module):
    """AutoencoderTiny's decoder: latents [N, 4, h, w] -> pictures [N, 3, H, W] in [-1, 1]."""

    def __init__(self, widths: Sequence[int], blocks: Sequence[int], latent_channels: int, ops: Ops) -> None:
        """`widths` and numbers of `blocks` from the latents outwards. In `layers` each part has diffusers' number."""
        super().__init__()
        self.kernels = kernels_of(ops)
        layers: list[nn.Module] = [ops.Conv2d(latent_channels, widths[0], 3, padding=1), nn.ReLU()]
        for level, (width, count) in enumerate(zip(widths, blocks, strict=True), 1):
            layers += [TinyBlock(width, ops) for _ in range(count)]
            if level < len(widths):
                layers += [nn.Upsample(scale_factor=2), ops.Conv2d(width, width, 3, padding=1, bias=False)]
        self.layers = nn.ModuleList([*layers, ops.Conv2d(widths[-1], RGB, 3, padding=1)])

    def forward(self, x: Tensor) -> Tensor:
        kernels, layers = self.kernels, list(self.layers)
        x, bias = kernels.convolution(torch.tanh(x / 3) * 3, layers[0])
        x = kernels.add(x, None, bias, relu=True)
        for before, layer in itertools.pairwise(layers[1:]):
            if isinstance(before, nn.Upsample):
                x = kernels.upsample(x, layer)
            elif not isinstance(layer, nn.Upsample):
                x = layer(x)
        return x.mul(2).sub(1)


def with_fused_decoder(vae: Any, ops: Ops) -> Any:  # noqa: ANN401 - diffusers' AutoencoderKL or AutoencoderTiny
    """`with_ops`, and if `ops` has fused functions, a decoder of this file in the place of the library's.

    A decoder of another structure than this file knows stays the library's. `vae` must still be on the meta device.
    """
    config = vae.config
    if kernels_of(ops) is not PLAIN and config.out_channels == RGB:
        if "num_decoder_blocks" not in config and _is(config, _KL) and hasattr(vae.decoder, "mid_block"):
            vae.decoder = KLDecoder(
                config.block_out_channels, config.layers_per_block, config.norm_num_groups, config.latent_channels, ops
            )
        elif "num_decoder_blocks" in config and _is(config, _TINY):
            vae.decoder = TinyDecoder(
                config.decoder_block_out_channels, config.num_decoder_blocks, config.latent_channels, ops
            )
    return with_ops(vae, ops)


def _is(config: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(config.get(key, value) == value for key, value in wanted.items())
