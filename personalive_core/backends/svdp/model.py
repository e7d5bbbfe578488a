"""The canvas model: a loop over the public parts of diffusers' SD3Transformer2DModel, with video attention between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING

import torch
from einops import rearrange
from torch import Tensor, nn

from ...errors import InputError
from .canvas import canvas_of, check_clip, join_tokens, middle_latents, split_tokens
from .types import HISTORY_FRAMES, SD35_MEDIUM, ClipConditions, TransformerSizes
from .video_attention import VideoAttention, clip_times

if TYPE_CHECKING:
    from diffusers import SD3Transformer2DModel

Exchange = Callable[[int, Tensor], Tensor]  # (layer, tokens [N, L, D] after it) -> tokens for the next


def run_transformer(
    transformer: SD3Transformer2DModel,
    latents: Tensor,
    timesteps: Tensor,
    context: Tensor,
    pooled: Tensor,
    exchange: Exchange,
) -> Tensor:
    """Velocity [N, C, h, w] of `latents` [N, C, h, w] at `timesteps` [N], 0 (clean) to 1000 (noise).

    `context` [N, K, joint_attention_dim] and `pooled` [N, pooled_projection_dim] stand for a prompt.
    """
    rows, columns = (side // transformer.config.patch_size for side in latents.shape[-2:])
    tokens = transformer.pos_embed(latents).contiguous()
    level = transformer.time_text_embed(timesteps, pooled)
    words = transformer.context_embedder(context)
    for layer, block in enumerate(transformer.transformer_blocks):
        words, tokens = block(hidden_states=tokens, encoder_hidden_states=words, temb=level)
        tokens = exchange(layer, tokens)
    tokens = transformer.proj_out(transformer.norm_out(tokens, level))
    patch = transformer.config.patch_size
    velocity: Tensor = rearrange(tokens, "n (r c) (i j d) -> n d (r i) (c j)", r=rows, c=columns, i=patch, j=patch)
    return velocity


class CanvasTransformer(nn.Module):
    """Velocity of a clip's frames from source, masked driving and history.

    `transformer` holds the keys of Stable Diffusion 3.5 Medium; the others are new: `video`, one learned context
    token in place of a prompt, and its pooled embedding. Raises InputError if diffusers is too old for it.
    """

    def __init__(self, sizes: TransformerSizes = SD35_MEDIUM) -> None:
        super().__init__()
        self.sizes = sizes
        self.transformer = _build_transformer(sizes)
        self.video = nn.ModuleList(
            VideoAttention(sizes.width, sizes.num_attention_heads) for _ in range(sizes.num_layers)
        )
        self.context = nn.Parameter(torch.zeros(1, 1, sizes.joint_attention_dim))
        self.pooled = nn.Parameter(torch.zeros(1, sizes.pooled_projection_dim))

    def forward(self, noisy: Tensor, timestep: Tensor, conditions: ClipConditions) -> Tensor:
        """Velocity [B, F, C, h, w] of `noisy` [B, F, C, h, w] at `timestep` [B], 0 (clean) to 1000 (noise).

        Frames of history are at timestep 0. Raises InputError for shapes that do not agree or fit.
        """
        check_clip(noisy, conditions, self.sizes)
        clips, frames = noisy.shape[:2]
        canvas = canvas_of(noisy, conditions).flatten(0, 1)
        rows = canvas.shape[-2] // self.sizes.patch_size
        times = clip_times(HISTORY_FRAMES, frames, canvas.device)

        def over_frames(layer: int, tokens: Tensor) -> Tensor:
            left, middle, right = split_tokens(tokens, clips, rows)
            change = self.video[layer](middle.flatten(2, 3), times).view_as(middle)
            return join_tokens(left, middle + change, right)

        wide = run_transformer(
            self.transformer,
            canvas,
            frame_timesteps(timestep, frames).flatten(),
            self.context.expand(len(canvas), -1, -1),
            self.pooled.expand(len(canvas), -1),
            over_frames,
        )
        found: Tensor = rearrange(middle_latents(wide), "(b t) c h w -> b t c h w", b=clips)
        return found[:, HISTORY_FRAMES:]


def frame_timesteps(timestep: Tensor, frames: int) -> Tensor:
    """Timesteps [B, H + F] of clips at `timestep` [B]: 0 for the clean frames of history."""
    clean = timestep.new_zeros(len(timestep), HISTORY_FRAMES)
    return torch.cat([clean, timestep[:, None].expand(-1, frames)], 1)


def _build_transformer(sizes: TransformerSizes) -> SD3Transformer2DModel:
    from diffusers import SD3Transformer2DModel

    derived = {"caption_projection_dim": sizes.width, "out_channels": sizes.in_channels, "qk_norm": "rms_norm"}
    try:
        return SD3Transformer2DModel(**asdict(sizes), **derived)
    except TypeError as error:  # an argument that older releases lack
        raise InputError(f"this diffusers has no transformer of SD3.5 Medium ({error}): install a newer one") from error
