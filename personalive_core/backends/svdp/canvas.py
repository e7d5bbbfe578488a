"""The canvas: source, noise and driving latents side by side, three times as wide as one; only its middle is read."""

from __future__ import annotations

import torch
from einops import rearrange
from torch import Tensor

from ...errors import InputError
from .types import HISTORY_FRAMES, ClipConditions, ClipHistory, TransformerSizes

PARTS = 3  # [source | noise | driving]
MIDDLE = 1


def canvas_of(noisy: Tensor, conditions: ClipConditions) -> Tensor:
    """Canvases [B, H + F, C, h, 3 w] of the H frames of history, whose middle is clean, and the F of `noisy`.

    `noisy` is [B, F, C, h, w].
    """
    history = conditions.history or zeroed_history(noisy)
    middle = torch.cat([history.latents, noisy], 1)
    driving = torch.cat([history.driving, conditions.driving], 1)
    return torch.cat([conditions.source[:, None].expand_as(middle), middle, driving], -1)


def zeroed_history(noisy: Tensor) -> ClipHistory:
    """Three frames of zeros before the clip `noisy` [B, F, C, h, w]."""
    zeros = noisy.new_zeros(noisy.shape[0], HISTORY_FRAMES, *noisy.shape[2:])
    return ClipHistory(zeros, zeros)


def middle_latents(canvas: Tensor) -> Tensor:
    """The middle third [..., h, w] of canvases [..., h, 3 w]."""
    return canvas.chunk(PARTS, -1)[MIDDLE]


def split_tokens(tokens: Tensor, clips: int, rows: int) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [(B T), (rows 3 columns), D] of canvases as three [B, T, rows, columns, D]; B is `clips`."""
    grid = rearrange(tokens, "(b t) (r p c) d -> p b t r c d", b=clips, r=rows, p=PARTS)
    return grid[0], grid[1], grid[2]


def join_tokens(left: Tensor, middle: Tensor, right: Tensor) -> Tensor:
    """The inverse of `split_tokens`."""
    return rearrange(torch.stack([left, middle, right], 3), "b t r p c d -> (b t) (r p c) d")


def check_clip(noisy: Tensor, conditions: ClipConditions, sizes: TransformerSizes) -> None:
    """Raises InputError unless shapes agree, cells fill whole patches, and the canvas fits SD3's positions."""
    batch, _, channels, height, width = noisy.shape
    history = conditions.history or zeroed_history(noisy)
    picture = (channels, height, width)
    expected = {
        "source": (conditions.source, (batch, *picture)),
        "driving": (conditions.driving, tuple(noisy.shape)),
        "history": (history.latents, (batch, HISTORY_FRAMES, *picture)),
        "driving of the history": (history.driving, (batch, HISTORY_FRAMES, *picture)),
    }
    for name, (tensor, shape) in expected.items():
        if tuple(tensor.shape) != shape:
            raise InputError(
                f"the {name} of a clip {list(noisy.shape)} must be {list(shape)}, got {list(tensor.shape)}: "
                "encode all pictures of a clip at one size"
            )
    most = sizes.pos_embed_max_size * sizes.patch_size
    if height % sizes.patch_size or width % sizes.patch_size or height > most or PARTS * width > most:
        raise InputError(
            f"latents must be whole patches of {sizes.patch_size} cells, at most {most} high and {most // PARTS} wide, "
            f"got {height} x {width}: choose another picture size"
        )
