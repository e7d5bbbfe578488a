"""One UNet of Stable Diffusion 1.5's shape in both roles: records reference tokens, or denoises while reading them."""

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
from .inputs import LayerFeatures, MotionFeatures
from .layers import Ops, sinusoid
from .schedule import alphas_cumprod, noise_from_output


@dataclass(frozen=True)
class UNetConfig:
    """Shapes of one UNet; the defaults are the published ones."""

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    denoises: bool = True  # motion and temporal modules and an output layer; False for the reference UNet
    layers: int = 2  # residual blocks on the way down; one more on the way up
    heads: int = 8
    groups: int = 32
    image_dim: int = 768  # width of the image embedding
    motion_dim: int = 16  # width of a motion token
    latent_channels: int = 4
    chunk: int = 0  # frames that see each other in temporal modules; 0: all in flight, as published
    preconditioned: bool = False  # the output layer's part in the noise depends on the level; the published gives noise
    recomputes: bool = False  # in training: activations inside a layer are computed twice instead of kept


class Resnet(nn.Module):
    """Residual block with the time embedding added in the middle: [N, C_in, h, w] -> [N, C_out, h, w]."""

    def __init__(self, channels_in: int, channels: int, time_dim: int, groups: int, ops: Ops) -> None:
        super().__init__()
        self.norm1 = ops.GroupNorm(groups, channels_in, eps=1e-5)
        self.conv1 = ops.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = ops.Linear(time_dim, channels)
        self.norm2 = ops.GroupNorm(groups, channels, eps=1e-5)
        self.conv2 = ops.Conv2d(channels, channels, 3, padding=1)
        self.conv_shortcut = ops.Conv2d(channels_in, channels, 1) if channels_in != channels else None

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        inner = self.conv1(functional.silu(self.norm1(x)))
        inner = inner + self.time_emb_proj(functional.silu(time))[:, :, None, None]
        inner = self.conv2(functional.silu(self.norm2(inner)))
        return inner + (x if self.conv_shortcut is None else self.conv_shortcut(x))


class Resample(nn.Module):
    """Halves ([N, C, h, w] -> [N, C, h/2, w/2]) or doubles the resolution around one convolution."""

    def __init__(self, channels: int, up: bool, ops: Ops) -> None:
        super().__init__()
        self.up = up
        self.conv = ops.Conv2d(channels, channels, 3, stride=1 if up else 2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(functional.interpolate(x, scale_factor=2.0, mode="nearest") if self.up else x)


class Block(nn.Module):
    """The layers of one resolution: residual blocks, each followed by a site where conditions enter."""

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
            MotionTransformer(width, None, heads, groups, ops, config.chunk) for _ in range(modules)
        )
        self.downsamplers, self.upsamplers = nn.ModuleList(), nn.ModuleList()


Visit = Callable[[Block, int, Tensor], Tensor]  # what happens at site i of a block


class UNet(nn.Module):
    """B items of F frames travel as [(B F), C, h, w]: everything but the temporal modules acts per frame."""

    def __init__(self, config: UNetConfig = UNetConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.config = config
        widths, last = config.widths, len(config.widths) - 1
        self.conv_in = ops.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.time_embedding = nn.Module()
        self.time_embedding.linear_1 = ops.Linear(widths[0], 4 * widths[0])
        self.time_embedding.linear_2 = ops.Linear(4 * widths[0], 4 * widths[0])
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
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
        """The blocks that see the reference, in order of execution; both UNets' pair by position and by name."""
        blocks = [*self.down_blocks, self.mid_block, *self.up_blocks]
        return [transformer for block in blocks for transformer in block.attentions]

    def reference_tokens(self, latent: Tensor, image: Tensor) -> tuple[Tensor, ...]:
        """Tokens [B, L_i, C_i] that each transformer block sees of a clean `latent` [B, 4, h, w], timestep 0.

        `image` is the image embedding [B, 1, D]. Stops after the last tokens: what follows feeds nobody.
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
        """Keys and values of reference tokens through this UNet's own projections: once, when they join."""
        return tuple(
            transformer.block.attn1.kv(layer) for transformer, layer in zip(self.transformers(), tokens, strict=True)
        )

    def project_image(self, image: Tensor) -> tuple[Tensor, ...]:
        """What the cross-attention of each transformer block adds for the image embedding [B, 1, D]: [B, 1, C_i]."""
        return tuple(transformer.block.attn2.one_token(image) for transformer in self.transformers())

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor,
        image: tuple[Tensor, ...],
        motion: MotionFeatures,
        features: LayerFeatures,
        temporal: bool = True,
    ) -> Tensor:
        """Predicted noise for `x` [B, F, 4, h, w] at `timesteps` [F] or [B, F]; `image` is what `project_image` gave.

        Computed in the conditions' type. `x` may be more precise: preconditioned noise is then as precise as `x`.

        Without `temporal` the frames are pictures that know nothing of one another, as in training before stage 3.
        """
        batch, frames = x.shape[:2]
        face = rearrange(motion.face, "b f l d -> (b f) l d")
        conditions = iter(zip(features, image, strict=True))

        def visit(block: Block, site: int, x: Tensor) -> Tensor:
            if block.attentions:
                x = self._run(block.attentions[site], x, *next(conditions))
            x = self._run(block.motion_modules[site], x, face, frames)
            return self._run(block.temporal_modules[site], x, face, frames) if temporal else x

        inner = self.conv_in(rearrange(x.to(motion.pose), "b f c h w -> (b f) c h w"))
        inner = inner + rearrange(motion.pose, "b f c h w -> (b f) c h w")
        inner = self._trunk(inner, timesteps.expand(batch, frames).flatten(), visit)
        inner = self.conv_out(functional.silu(self.conv_norm_out(inner)))
        predicted = rearrange(inner, "(b f) c h w -> b f c h w", b=batch)
        if not self.config.preconditioned:
            return predicted
        alpha = alphas_cumprod().to(x.device)[timesteps].expand(batch, frames)[..., None, None, None]
        return noise_from_output(predicted.to(x.dtype), x, alpha.to(x.dtype))

    def _run(self, layer: nn.Module, x: Tensor, *inputs: object) -> Tensor:
        """`layer` of `x`; where gradients are wanted and the config says so, without keeping what is inside it."""
        if self.config.recomputes and torch.is_grad_enabled():
            return checkpoint(layer, x, *inputs, use_reentrant=False, preserve_rng_state=False)
        return layer(x, *inputs)

    def _trunk(self, x: Tensor, timesteps: Tensor, visit: Visit) -> Tensor:
        sine, cosine = sinusoid(timesteps, self.config.widths[0], 10000.0)
        time = self.time_embedding.linear_1(torch.cat([cosine, sine], -1).to(x.dtype))
        time = self.time_embedding.linear_2(functional.silu(time))
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
