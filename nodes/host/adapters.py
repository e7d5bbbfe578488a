"""Adapters: give ComfyUI's VAE and CLIP_VISION inputs the interface of the core's own networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from ...personalive_core.backends.personalive.reference import CLIP_MEAN, CLIP_STD
from ...personalive_core.backends.personalive.types import LATENT_PIXELS
from ...personalive_core.errors import InputError


@dataclass(frozen=True, eq=False)
class ComfyVae:
    """A VAE input with the `encode` and `decode` that the core calls.

    ComfyUI moves the VAE to its device and decodes in parts when memory is short. ComfyUI's VAE takes and returns RGB
    in [0, 1] with the channels last.
    """

    vae: Any

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        """[B, 3, H, W] in [-1, 1] -> `.latent_dist.mean` [B, 4, h, w].

        Raises InputError if the latents do not have the shape of Stable Diffusion 1.5's.
        """
        latents = self.vae.encode((pixels.float() / 2 + 0.5).movedim(1, -1))
        expected = (len(pixels), 4, pixels.shape[2] // LATENT_PIXELS, pixels.shape[3] // LATENT_PIXELS)
        if tuple(latents.shape) != expected:
            raise InputError(
                f"the VAE gives latents of {list(latents.shape)}, Stable Diffusion 1.5's are {list(expected)}: "
                "connect sd-vae-ft-mse, or nothing"
            )
        return SimpleNamespace(latent_dist=SimpleNamespace(mean=latents.to(pixels)))

    def decode(self, latents: Tensor) -> SimpleNamespace:
        """[B, 4, h, w] -> `.sample` [B, 3, H, W] in [-1, 1]."""
        return SimpleNamespace(sample=self.vae.decode(latents).movedim(-1, 1).to(latents.device) * 2 - 1)


@dataclass(frozen=True, eq=False)
class ComfyImageEncoder:
    """A CLIP_VISION input, called as the core calls its own image encoder."""

    clip_vision: Any
    dim: int  # length D of the image embedding that the UNet expects

    def parameters(self) -> Iterator[Tensor]:
        """Yields one empty float32 CPU tensor: tells the core what to pass in; ComfyUI moves the encoder itself."""
        yield torch.empty(0)

    def __call__(self, pixels: Tensor) -> SimpleNamespace:
        """CLIP-normalised [B, 3, 224, 224] -> `.image_embeds` [B, D]. Raises InputError if D is not `dim`."""
        mean, std = (torch.tensor(levels)[:, None, None] for levels in (CLIP_MEAN, CLIP_STD))
        embeds = self.clip_vision.encode_image((pixels * std + mean).movedim(1, -1))["image_embeds"]
        if embeds.shape[1:] != (self.dim,):
            raise InputError(
                f"the CLIP vision model gives embeddings of {list(embeds.shape)}, {self.dim} numbers are needed: "
                "connect the image encoder of sd-image-variations, or nothing"
            )
        return SimpleNamespace(image_embeds=embeds)
