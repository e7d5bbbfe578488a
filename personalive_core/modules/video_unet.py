"""Stable Video Diffusion's UNet (arXiv 2311.15127) as HunyuanPortrait uses it: a pose picture, paired conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .layers import Ops
from .spatio_temporal import GROUPS, PairedTokens, SpatioTemporalTransformer
from .video_parts import doubling, embedding, halving, residual_block, sinusoids

LAYERS = 2  # residual blocks of each stage on the way down; one more on the way up
ADDED_IDS = 3  # frame rate, motion bucket, strength of the noise on the reference
# Of the residual blocks' norms; the second at the coarsest size, but not on the way up.
_EPS, _COARSE_EPS = 1e-6, 1e-5


@dataclass(frozen=True)
class VideoUNetConfig:
    """Shapes of the UNet; by default the published ones."""

    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    context_dim: int = 1024  # of a token of either condition
    ids_dim: int = 256  # of the sinusoids of each added id
    in_channels: int = 8  # noisy latents, then the reference's
    out_channels: int = 4


@dataclass(frozen=True)
class Conditions:
    """What every block of the UNet sees besides its input."""

    tokens: PairedTokens
    embedding: Tensor  # [B F, 4 C] of the time and the added ids
    still: Tensor  # [B, F] zeros: all frames belong to one video


class VideoStage(nn.Module):
    """Residual blocks, each but the surplus one followed by attention: the blocks of one size."""

    def __init__(
        self, channels: Sequence[tuple[int, int]], attentions: int, eps: float, config: VideoUNetConfig, ops: Ops
    ) -> None:
        """`channels` are each residual block's in and out; the first `attentions` of them are followed by one."""
        super().__init__()
        time = 4 * config.widths[0]
        self.resnets = nn.ModuleList(residual_block(before, after, time, eps, ops) for before, after in channels)
        self.attentions = nn.ModuleList(
            SpatioTemporalTransformer(after, config.context_dim, ops) for _, after in channels[:attentions]
        )

    def layer(self, index: int, x: Tensor, given: Conditions) -> Tensor:
        """[(B F), C, h, w] -> [(B F), C', h, w]: one residual block, and its attention."""
        x = self.resnets[index](x, given.embedding, given.still)
        return self.attentions[index](x, given.tokens, given.still) if index < len(self.attentions) else x


class DownStage(VideoStage):
    """A stage, then half the size."""

    def __init__(self, index: int, config: VideoUNetConfig, ops: Ops) -> None:
        before, after = config.widths[max(index - 1, 0)], config.widths[index]
        is_last = index == len(config.widths) - 1
        channels = [(before, after), *[(after, after)] * (LAYERS - 1)]
        super().__init__(channels, 0 if is_last else LAYERS, _COARSE_EPS if is_last else _EPS, config, ops)
        self.downsamplers = nn.ModuleList([] if is_last else [halving(after, ops)])

    def forward(self, x: Tensor, given: Conditions) -> tuple[Tensor, tuple[Tensor, ...]]:
        """The output, and what is kept for the way up."""
        kept = []
        for index in range(len(self.resnets)):
            x = self.layer(index, x, given)
            kept.append(x)
        for half in self.downsamplers:
            x = half(x)
            kept.append(x)
        return x, tuple(kept)


class MidStage(VideoStage):
    """Residual block, attention, residual block at the coarsest size."""

    def __init__(self, config: VideoUNetConfig, ops: Ops) -> None:
        width = config.widths[-1]
        super().__init__([(width, width)] * 2, 1, _COARSE_EPS, config, ops)

    def forward(self, x: Tensor, given: Conditions) -> Tensor:
        return self.layer(1, self.layer(0, x, given), given)


class UpStage(VideoStage):
    """A stage whose blocks also see what the way down kept, then twice the size."""

    def __init__(self, index: int, config: VideoUNetConfig, ops: Ops) -> None:
        widths = config.widths[::-1]
        after, is_last = widths[index], index == len(widths) - 1
        inputs = [widths[max(index - 1, 0)], *[after] * LAYERS]
        kept = [*[after] * LAYERS, widths[min(index + 1, len(widths) - 1)]]
        channels = [(own + skip, after) for own, skip in zip(inputs, kept, strict=True)]
        super().__init__(channels, len(channels) if index else 0, _EPS, config, ops)
        self.upsamplers = nn.ModuleList([] if is_last else [doubling(after, ops)])

    def forward(self, x: Tensor, kept: Sequence[Tensor], size: torch.Size, given: Conditions) -> Tensor:
        """`kept` are the tensors of the way down, the last one first to be used; `size` is the output's."""
        for index in range(len(self.resnets)):
            x = self.layer(index, torch.cat([x, kept[-1 - index]], 1), given)
        for double in self.upsamplers:
            x = double(x, size)
        return x


class VideoUNet(nn.Module):
    """Predicts the velocity of F noisy frames: [B, F, 8, h, w] -> [B, F, 4, h, w].

    Beside diffusers' UNetSpatioTemporalConditionModel: the pose picture is added to the first layer's output; each
    frame has its own conditions, a pair, whose attentions are added; temporal attention sees their mean over frames.
    """

    def __init__(self, config: VideoUNetConfig = VideoUNetConfig(), ops: Ops = nn) -> None:
        super().__init__()
        self.config = config
        first, stages = config.widths[0], range(len(config.widths))
        self.conv_in = ops.Conv2d(config.in_channels, first, 3, padding=1)
        self.time_proj, self.add_time_proj = sinusoids(first), sinusoids(config.ids_dim)
        self.time_embedding = embedding(first, 4 * first, 4 * first, ops)
        self.add_embedding = embedding(ADDED_IDS * config.ids_dim, 4 * first, 4 * first, ops)
        self.down_blocks = nn.ModuleList(DownStage(index, config, ops) for index in stages)
        self.mid_block = MidStage(config, ops)
        self.up_blocks = nn.ModuleList(UpStage(index, config, ops) for index in stages)
        self.conv_norm_out = ops.GroupNorm(GROUPS, first, eps=_COARSE_EPS)
        self.conv_out = ops.Conv2d(first, config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor, ids: Tensor, tokens: PairedTokens, pose: Tensor) -> Tensor:
        """`time` [] and `ids` [3] hold for the whole batch; `tokens` are of B F items.

        `pose` [1 or B F, C, h, w] is the pose guider's answer.
        """
        batch, frames = x.shape[:2]
        given = Conditions(tokens, self.embed(time, ids, x).expand(batch * frames, -1), x.new_zeros(batch, frames))
        x = self.conv_in(x.flatten(0, 1)) + pose
        kept = [x]
        for down in self.down_blocks:
            x, more = down(x, given)
            kept.extend(more)
        x = self.mid_block(x, given)
        for up in self.up_blocks:
            own, kept = kept[-len(up.resnets) :], kept[: -len(up.resnets)]
            x = up(x, own, kept[-1].shape[2:] if kept else x.shape[2:], given)
        x = self.conv_out(functional.silu(self.conv_norm_out(x)))
        return x.unflatten(0, (batch, frames))

    def embed(self, time: Tensor, ids: Tensor, like: Tensor) -> Tensor:
        """[1, 4 C] of a time [] and added ids [3], in the device and dtype of `like`."""
        level = self.time_proj(time.reshape(1).to(like.device)).to(like.dtype)
        added = self.add_time_proj(ids.to(like.device)).reshape(1, -1).to(like.dtype)
        return self.time_embedding(level) + self.add_embedding(added)
