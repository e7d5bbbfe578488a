"""Networks of any width with random weights, in memory only: what `bench` measures where no checkpoint is at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backends.personalive.files import facts_of
from ..backends.personalive.model import PersonaLive
from ..modules.face_encoder import FaceEncoder, FaceEncoderConfig
from ..modules.keypoints import KeypointConfig, KeypointExtractor
from ..modules.pose_guider import PoseGuider, PoseGuiderConfig
from ..modules.unet import UNet, UNetConfig
from ..weights.fill import is_computed, load_into
from ..weights.read import State, TensorInfo
from .standin import (
    IMAGE_ENCODER_CONFIG,
    SMALL_FACE_ENCODER,
    SMALL_KEYPOINTS,
    TINY_VAE_CONFIG,
    VAE_CONFIG,
    calm,
    random_tensor,
)

PUBLISHED_VAE: dict[str, Any] = {  # sd-vae-ft-mse
    **VAE_CONFIG,
    "block_out_channels": [128, 256, 512, 512],
    "layers_per_block": 2,
}
PUBLISHED_TINY_VAE: dict[str, Any] = {}  # taesd: the library's defaults
PUBLISHED_IMAGE_ENCODER: dict[str, Any] = {  # CLIP ViT-L/14 (arXiv 2103.00020)
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "projection_dim": 768,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
}
_DRAWN_NUMBERS = 2**16  # random numbers drawn for one weight; its further rows repeat them


def empty_model(widths: tuple[int, ...]) -> PersonaLive:
    """All networks on the meta device; at the published widths the others are full-size too, at any other the small."""
    from diffusers import AutoencoderKL, AutoencoderTiny
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    full = widths == UNetConfig().widths
    with torch.device("meta"):
        networks = PersonaLive(
            reference_unet=UNet(UNetConfig(widths, denoises=False)),
            denoising_unet=UNet(UNetConfig(widths)),
            pose_guider=PoseGuider(PoseGuiderConfig(out_channels=widths[0])),
            motion_encoder=FaceEncoder(FaceEncoderConfig() if full else SMALL_FACE_ENCODER),
            motion_extractor=KeypointExtractor(KeypointConfig() if full else SMALL_KEYPOINTS),
            vae=AutoencoderKL.from_config(PUBLISHED_VAE if full else VAE_CONFIG),
            image_encoder=CLIPVisionModelWithProjection(
                CLIPVisionConfig(**(PUBLISHED_IMAGE_ENCODER if full else IMAGE_ENCODER_CONFIG))
            ),
            tiny_vae=AutoencoderTiny.from_config(PUBLISHED_TINY_VAE if full else TINY_VAE_CONFIG),
        )
    return each(networks, lambda _, network: network.eval())


def random_model(widths: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> PersonaLive:
    """`empty_model` with weights that are a function of their names, and an extractor that sees a face everywhere."""

    def filled(name: str, network: nn.Module) -> nn.Module:
        facts, state = facts_of(name), random_state(name, network)
        if not isinstance(network, KeypointExtractor):
            load_into(network, state, network=name, device=device, dtype=dtype, facts=facts)
            return network
        load_into(network, state, network=name, device="cpu", dtype=torch.float32)
        calm(network)
        calmed = {
            key: tensor if facts.stays_float32(key) else tensor.to(dtype)
            for key, tensor in network.state_dict().items()
        }
        network.load_state_dict(calmed, assign=True)
        return network.to(device)

    return each(empty_model(widths), filled)


class RandomState(State):
    """A state dict in no file: a tensor's values are made when they are asked for."""

    def stream(self, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields (key, tensor) in the order of `keys`."""
        for key in keys:
            yield key, _repeating(self.entries[key].name, self.entries[key].shape)


def random_state(name: str, network: nn.Module) -> RandomState:
    """Random values for all that `network`, which is called `name`, does not compute itself."""
    nowhere = Path()
    return RandomState(
        {
            key: TensorInfo(nowhere, f"{name}.{key}", tuple(tensor.shape), torch.float32)
            for key, tensor in network.state_dict().items()
            if not is_computed(key)
        }
    )


def _repeating(name: str, shape: tuple[int, ...]) -> Tensor:
    """`random_tensor` of a few rows, repeated to `shape`: two billion weights in seconds, with the same gain."""
    if len(shape) < 2:  # noqa: PLR2004 - a vector is short
        return random_tensor(name, torch.empty(shape, device="meta"))
    rows = min(max(_DRAWN_NUMBERS // math.prod(shape[1:]), 1), shape[0])
    block = random_tensor(name, torch.empty(rows, *shape[1:], device="meta"))
    return block.repeat(math.ceil(shape[0] / rows), *[1] * (len(shape) - 1))[: shape[0]]


def each(model: PersonaLive, change: Callable[[str, Any], Any]) -> PersonaLive:
    """A model of the networks that `change` makes of (name, network); those that are not there stay away."""
    networks: dict[str, Any] = {field.name: getattr(model, field.name) for field in fields(model)}
    return replace(model, **{name: change(name, network) for name, network in networks.items() if network is not None})
