"""The speed choices that `bench` measures beside one another: each prepares a plain model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from ..backends.personalive.model import PersonaLive

Prepare = Callable[[PersonaLive], PersonaLive]


def plain(model: PersonaLive) -> PersonaLive:
    """The model as it is."""
    return model


def compiled(model: PersonaLive) -> PersonaLive:
    """The denoising UNet through torch.compile, with static shapes; it compiles when it is first called."""
    unet: Any = torch.compile(model.denoising_unet, dynamic=False)
    return replace(model, denoising_unet=unet)


VARIANTS: Mapping[str, Prepare] = {"plain": plain, "compiled": compiled}
