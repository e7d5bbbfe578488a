"""Converts pictures to tensors."""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange
from torch import Tensor


def to_signed(pictures: np.ndarray) -> Tensor:
    """[F, H, W, 3] uint8 -> [F, 3, H, W] in [-1, 1]."""
    return rearrange(signed(torch.tensor(pictures).float()), "f h w c -> f c h w")


def signed(levels: Tensor) -> Tensor:
    """Levels in 0..255, float -> [-1, 1]."""
    return levels / 127.5 - 1
