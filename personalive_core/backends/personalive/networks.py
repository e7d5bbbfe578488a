"""Builds PersonaLive's networks without weights, in the published sizes or any other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from ...modules.decoder import with_fused_decoder
from ...modules.face_encoder import FaceEncoder, FaceEncoderConfig
from ...modules.keypoints import KeypointConfig, KeypointExtractor
from ...modules.layers import Ops
from ...modules.pose_guider import PoseGuider, PoseGuiderConfig
from ...modules.unet import UNet, UNetConfig
from .model import PersonaLive

Config = Mapping[str, Any]  # config.json of a diffusers or transformers network


@dataclass(frozen=True)
class NetworkSizes:
    """Widths and depths of every network of a model."""

    unet: UNetConfig  # the denoising UNet's; the reference UNet has the same widths
    pose_guider: PoseGuiderConfig
    face_encoder: FaceEncoderConfig
    keypoints: KeypointConfig
    vae: Config = field(hash=False)
    image_encoder: Config = field(hash=False)
    tiny_vae: Config | None = field(default=None, hash=False)


def vae_config(widths: tuple[int, ...], groups: int, layers: int = 1) -> dict[str, Any]:
    """Config of an AutoencoderKL that halves the picture len(widths) - 1 times; its norms have `groups` groups."""
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": list(widths),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "latent_channels": 4,
        "layers_per_block": layers,
        "norm_num_groups": groups,
    }


def small_image_encoder_config(width: int, dim: int) -> dict[str, Any]:
    """Config of a two-layer CLIP vision model with `dim`-dimensional embeddings, for tests and small models."""
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "projection_dim": dim,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 224,
        "patch_size": 32,
    }


PUBLISHED = NetworkSizes(
    UNetConfig(),
    PoseGuiderConfig(),
    FaceEncoderConfig(),
    KeypointConfig(),
    vae_config((128, 256, 512, 512), 32, layers=2),  # sd-vae-ft-mse
    {  # CLIP ViT-L/14 (arXiv 2103.00020)
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "projection_dim": 768,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "image_size": 224,
        "patch_size": 14,
    },
    {},  # taesd: the library's defaults
)


def build(sizes: NetworkSizes, ops: Ops = nn) -> PersonaLive:
    """All networks in these sizes, of the layers of `ops`, in eval mode, with the layers' default initialisation."""
    model = PersonaLive(
        reference_unet=UNet(replace(sizes.unet, denoises=False), ops),
        denoising_unet=UNet(sizes.unet, ops),
        pose_guider=PoseGuider(sizes.pose_guider, ops),
        motion_encoder=FaceEncoder(sizes.face_encoder, ops),
        motion_extractor=KeypointExtractor(sizes.keypoints, ops),
        vae=build_vae(sizes.vae, ops),
        image_encoder=build_image_encoder(sizes.image_encoder),
        tiny_vae=None if sizes.tiny_vae is None else build_tiny_vae(sizes.tiny_vae, ops),
    )
    for network in vars(model).values():
        if network is not None:
            network.eval()
    return model


def build_vae(config: Config, ops: Ops = nn) -> Any:  # noqa: ANN401 - diffusers is imported only when it is used
    """An AutoencoderKL of the layers of `ops`; with others than torch's it must be built on the meta device."""
    from diffusers import AutoencoderKL

    return with_fused_decoder(AutoencoderKL.from_config(dict(config)), ops)


def build_tiny_vae(config: Config, ops: Ops = nn) -> Any:  # noqa: ANN401 - as above
    """An AutoencoderTiny, likewise."""
    from diffusers import AutoencoderTiny

    return with_fused_decoder(AutoencoderTiny.from_config(dict(config)), ops)


def build_image_encoder(config: Config) -> Any:  # noqa: ANN401 - as above
    """A CLIP vision model with projection."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return CLIPVisionModelWithProjection(CLIPVisionConfig(**config))
