"""Builds the canvas model on the meta device, and the tensors with which its new layers start."""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from .files import new_shapes
from .model import CanvasTransformer
from .types import SD35_MEDIUM, TransformerSizes


def build_canvas(sizes: TransformerSizes = SD35_MEDIUM) -> CanvasTransformer:
    """The model in these sizes on the meta device, in eval mode. Raises InputError if diffusers is too old for it."""
    with torch.device("meta"):
        return CanvasTransformer(sizes).eval()


def starting_layers(sizes: TransformerSizes, seed: int = 0) -> dict[str, Tensor]:
    """The new tensors by key, float32 on the CPU: with them the model gives what the transformer alone gives.

    Queries, keys and values are random, by `seed` and key; the output projections, the token and its pooled embedding
    are zero.
    """
    return {key: _start(key, shape, sizes.width, seed) for key, shape in new_shapes(sizes).items()}


def seeded_tensor(key: str, shape: tuple[int, ...], seed: int) -> Tensor:
    """Standard normal numbers that depend on (seed, key) alone, float32 on the CPU."""
    digest = hashlib.sha256(f"{seed}:{key}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "little") >> 1)
    numbers: Tensor = torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
    return numbers


def _start(key: str, shape: tuple[int, ...], width: int, seed: int) -> Tensor:
    if key.endswith(("norm_q.weight", "norm_k.weight")):
        return torch.ones(shape)
    if key.endswith(("to_q.weight", "to_k.weight", "to_v.weight")):
        return seeded_tensor(key, shape, seed) / math.sqrt(width)
    return torch.zeros(shape)
