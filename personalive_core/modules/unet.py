"""Stable Diffusion 1.5's UNet in two roles: the reference UNet records tokens, the denoising UNet attends to them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from .attention import MotionTransformer, SpatialTransformer
from .inputs import LayerFeatures, MotionFeatures, SeenFeatures
from .kernels import kernels_of
from .layers import Ops, sinusoid
from .schedule import alphas_on, noise_from_output


@dataclass(frozen=True)
class UNetConfig:
    """Shapes and options of one UNet; the defaults match the published checkpoints."""

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    denoises: bool = True  # adds motion modules, temporal modules and an output layer; False for the reference UNet
    layers: int = 2  # residual blocks per down block; an up block has one more
    heads: int = 8
    groups: int = 32
    image_dim: int = 768  # width of the image embedding
    motion_dim: int = 16  # width of a motion token
    latent_channels: int = 4
    chunk_frames: int = 0  # frames that see each other in temporal attention; 0: all in flight, as published
    # True: the output is scaled by noise level (see `noise_from_output`). False, as published: the output is the noise
    preconditioned: bool = False
    recomputes: bool = False  # gradient checkpointing: in training, a layer's activations are recomputed, not stored
    history: int = 0  # finished frames that stood before those in flight in training; the weights know the value


class Resnet(nn.Module):
    """Residual block; adds the timestep embedding between its convolutions: [N, C_in, h, w] -> [N, C_out, h, w].

    Without a `time_dim` there is no timestep embedding.
    """

    def __init__(
        self, channels_in: int, channels: int, time_dim: int | None, groups: int, ops: Ops, eps: float = 1e-5
    ) -> None:
        super().__init__()
        self.kernels = kernels_of(ops)
        self.norm1 = ops.GroupNorm(groups, channels_in, eps=eps)
        self.conv1 = ops.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = ops.Linear(time_dim, channels) if time_dim else None
        self.norm2 = ops.GroupNorm(groups, channels, eps=eps)
        self.conv2 = ops.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = ops.Conv2d(channels_in, channels, 1) if channels_in != channels else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """`time` is the timestep embedding [N, D] after its SiLU."""
        kernels = self.kernels
        inner, bias = kernels.convolution(kernels.group_norm(x, self.norm1, silu=True), self.conv1)
        shift = None if self.time_emb_proj is None else self.time_emb_proj(time)
        inner = kernels.group_norm(inner, self.norm2, silu=True, shift=shift, bias=bias)
        inner, bias = kernels.convolution(inner, self.conv2)
        return kernels.add(inner, x if self.conv_shortcut is None else kernels.pointwise(x, self.conv_shortcut), bias)


class Resample(nn.Module):
    """One convolution that halves ([N, C, h, w] -> [N, C, h/2, w/2]) or, with `up`, doubles the resolution."""

    def __init__(self, channels: int, up: bool, ops: Ops) -> None:
        super().__init__()
        self.up, self.kernels = up, kernels_of(ops)
        self.conv = ops.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.kernels.upsample(x, self.conv) if self.up else self.conv(x)


class Block(nn.Module):
    """The layers of one resolution: residual blocks, and the sites between and after them where conditions enter.

    A site is one index into `attentions`, `motion_modules` and `temporal_modules`. The two lists of modules are empty
    in the reference UNet; `attentions` is empty where the block has no attention to the reference.
    """

    def __init__(
        self, channels: list[tuple[int, int]], sites: int, attends: bool, config: UNetConfig, ops: Ops
    ) -> None:
        super().__init__()
        width, groups, heads = channels[-1][1], config.groups, config.heads
        self.attentions = nn.ModuleList(
            SpatialTransformer(width, config.image_dim, heads, groups, ops) for _ in range(sites if attends else 0)
        )
        self.resnets = nn.ModuleList(Resnet(i, o, 4 * config.widths[0], groups, ops) for i, o in channels)
        modules = sites if config.denoises else 0
        self.motion_modules = nn.ModuleList(
            MotionTransformer(width, config.motion_dim, heads, groups, ops) for _ in range(modules)
        )
        self.temporal_modules = nn.ModuleList(
            MotionTransformer(width, None, heads, groups, ops, config.chunk_frames) for _ in range(modules)
        )
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()


Visit = Callable[[Block, int, Tensor], Tensor]  # (block, site, activations) -> activations after that site's layers


class UNet(nn.Module):
    """The reference or the denoising UNet, as `config.denoises` says.

    Activations of B items of F frames are [(B F), C, h, w]: all layers but the temporal modules act per frame.
    """

    def __init__(self, config: UNetConfig = UNetConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.config, self.kernels = config, kernels_of(ops)
        widths, last = config.widths, len(config.widths) - 1
        self.conv_in = ops.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1 = ops.Linear(widths[0], 4 * widths[0])
        self.time_embedding.linear_2 = ops.Linear(4 * widths[0], 4 * widths[0])
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        # `skips`: channels of the skip connections that the down path gives and the up path takes, last first
        skips = [widths[0]]
        for i, width in enumerate(widths):
            inputs = [skips[-1], *[width] * (config.layers - 1)]
            block = Block([(c, width) for c in inputs], config.layers, i < last, config, ops)
            if i < last:
                block.downsamplers.append(Resample(width, up=False, ops=ops))
            self.down_blocks.append(block)
            skips += [width] * (config.layers + (i < last))
        self.mid_block = Block([(widths[-1], widths[-1])] * 2, 1, True, config, ops)
        below = widths[-1]
        for i, width in enumerate(reversed(widths)):
            inputs = [below, *[width] * config.layers]
            block = Block([(c + skips.pop(), width) for c in inputs], config.layers + 1, i > 0, config, ops)
            if i < last:
                block.upsamplers.append(Resample(width, up=True, ops=ops))
            self.up_blocks.append(block)
            below = width
        if config.denoises:
            self.conv_norm_out = ops.GroupNorm(config.groups, widths[0], eps=1e-5)
            self.conv_out = ops.Conv2d(widths[0], config.latent_channels, 3, padding=1)

    def transformers(self) -> list[SpatialTransformer]:
        """The layers that see the reference, in execution order.

        Those of the reference UNet and of the denoising UNet match by position and by name.
        """
        blocks = [*self.down_blocks, self.mid_block, *self.up_blocks]
        return [transformer for block in blocks for transformer in block.attentions]

    def reference_tokens(self, latent: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        """Records each transformer block's tokens [B, L_i, C_i] for a clean `latent` [B, 4, h, w] at timestep 0.

        `image` is the image embedding [B, 1, D]. The last transformer layer is skipped: only its tokens are needed.
        """
        tokens: list[Tensor] = []
        count = len(self.transformers())

        def visit(block: Block, site: int, x: Tensor) -> Tensor:
            if not block.attentions:
                return x
            transformer = cast("SpatialTransformer", block.attentions[site])
            tokens.append(transformer.embed(x)[1])
            if len(tokens) == count:
                return x
            return self._run(transformer, x, None, transformer.block.attn2.one_token(image))

        self._trunk(self.conv_in(latent), latent.new_zeros(len(latent)), visit)
        return tuple(tokens)

    def project_reference(self, tokens: tuple[Tensor, ...]) -> LayerFeatures:
        """Keys and values of reference tokens by this UNet's own projections; needed once per reference or keyframe."""
        return tuple(
            transformer.block.attn1.kv(layer) for transformer, layer in zip(self.transformers(), tokens, strict=True)
        )

    def project_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """Image embedding [B, 1, D] -> the cross-attention output [B, 1, C_i] of each transformer block.

        Raises ValueError for an embedding of more than one token.
        """
        return tuple(transformer.block.attn2.one_token(image) for transformer in self.transformers())

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        image: tuple[Tensor, ...],
        motion: MotionFeatures,
        features: SeenFeatures,
        temporal: bool = True,
    ) -> Tensor:
        """Predicted noise [B, F, 4, h, w] for `x` [B, F, 4, h, w] at `timesteps` [F] or [B, F].

        `image` is the result of `project_image`, `features` that of `project_reference`.

        Computes in the dtype of `motion.pose`. `x` may have a more precise dtype; a preconditioned UNet then returns
        the noise in the dtype of `x`.

        Without `temporal` the temporal modules are skipped: frames are independent, as in training before stage 3.
        Raises ValueError for more frames than the temporal modules have positions.
        """
        batch, frames = x.shape[:2]
        face = rearrange(motion.face, "b f l d -> (b f) l d")
        conditions = iter(zip(features, image, strict=True))

        def visit(block: Block, site: int, x: Tensor) -> Tensor:
            if block.attentions:
                x = self._run(block.attentions[site], x, *next(conditions))
            x = self._run(block.motion_modules[site], x, face, frames)
            return self._run(block.temporal_modules[site], x, face, frames) if temporal else x

        inner, bias = self.kernels.convolution(rearrange(x.to(motion.pose), "b f c h w -> (b f) c h w"), self.conv_in)
        inner = self.kernels.add(inner, rearrange(motion.pose, "b f c h w -> (b f) c h w"), bias)
        inner = self._trunk(inner, timesteps.expand(batch, frames).flatten(), visit)
        inner = self.conv_out(self.kernels.group_norm(inner, self.conv_norm_out, silu=True))
        predicted = rearrange(inner, "(b f) c h w -> b f c h w", b=batch)
        if not self.config.preconditioned:
            return predicted
        alpha = alphas_on(x.device)[timesteps].expand(batch, frames)[..., None, None, None]
        return noise_from_output(predicted.to(x.dtype), x, alpha.to(x.dtype))

    def _run(self, layer: nn.Module, x: Tensor, *inputs: object) -> Tensor:
        """Runs `layer` on `x`; if `recomputes` is set and gradients are enabled, with gradient checkpointing."""
        if self.config.recomputes and torch.is_grad_enabled():
            return checkpoint(layer, x, *inputs, use_reentrant=False, preserve_rng_state=False)
        return layer(x, *inputs)

    def _trunk(self, x: Tensor, timesteps: Tensor, visit: Visit) -> Tensor:
        """Down path, middle and up path on `x` [N, C, h, w] at `timesteps` [N]; `visit` runs each site's layers."""
        sine, cosine = sinusoid(timesteps, self.config.widths[0], 10000.0)
        time = self.time_embedding.linear_1(torch.cat([cosine, sine], -1).to(x.dtype))
        time = functional.silu(self.time_embedding.linear_2(functional.silu(time)))  # every residual block takes it so
        skips = [x]
        for block in self.down_blocks:
            for i, resnet in enumerate(block.resnets):
                x = visit(block, i, self._run(resnet, x, time))
                skips.append(x)
            for sampler in block.downsamplers:
                x = sampler(x)
                skips.append(x)
        mid = self.mid_block
        x = self._run(mid.resnets[1], visit(mid, 0, self._run(mid.resnets[0], x, time)), time)
        for block in self.up_blocks:
            for i, resnet in enumerate(block.resnets):
                x = visit(block, i, self._run(resnet, torch.cat([x, skips.pop()], 1), time))
            for sampler in block.upsamplers:
                x = sampler(x)
        return x
