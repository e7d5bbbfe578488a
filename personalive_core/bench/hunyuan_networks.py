"""HunyuanPortrait's networks in any width with random weights, and their floating-point operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..backends.hunyuan.files import HUNYUAN_FACTS, VIDEO_VAE
from ..backends.hunyuan.model import ADDED, HunyuanPortrait
from ..backends.hunyuan.networks import POSE_LAST, build_video_vae
from ..backends.hunyuan.types import PER_LATENT, READ_SIDE
from ..modules.group_resnet import EXPRESSION_DIM, ExpressionEncoder, HeadPoseEncoder
from ..modules.identity_dino import IDENTITY_DIM, DinoConfig, IdentityDino
from ..modules.motion_resampler import MotionResampler, ResamplerConfig
from ..modules.pose_guider import PoseGuider, PoseGuiderConfig
from ..modules.spatio_temporal import PairedTokens
from ..modules.video_unet import VideoUNet, VideoUNetConfig
from ..weights.fill import NetworkFacts, load_into
from .measure import count_flops
from .networks import random_state

PUBLISHED_HUNYUAN, SMALL_HUNYUAN = (320, 640, 1280, 1280), (64, 128, 128, 128)
TOKENS = 64  # of either condition, per frame
_IMAGE_TOKENS = 261  # class, registers, patches
_POSE_NUMBERS = 6  # of a motion token: angles and translation
_SMALL = 64  # numbers of a token


def empty_networks(widths: tuple[int, ...]) -> Mapping[str, Any]:
    """{weights file: network} on the meta device: the published sizes at the published widths, else small ones."""
    published = widths == PUBLISHED_HUNYUAN
    dino = DinoConfig() if published else DinoConfig(_SMALL, 2, (1,), 32)
    small = ResamplerConfig(output_dim=_SMALL - _POSE_NUMBERS, width=_SMALL, layers=1)
    with torch.device("meta"):
        return {
            "unet": VideoUNet(VideoUNetConfig(widths, context_dim=dino.dim)),
            "dino": IdentityDino(dino),
            "motion_proj": MotionResampler(ResamplerConfig() if published else small),
            "image_proj": nn.Linear(_IMAGE_TOKENS, TOKENS),
            "pose_guider": PoseGuider(PoseGuiderConfig(widths[0], last=POSE_LAST)),
            "expression": ExpressionEncoder(),
            "headpose": HeadPoseEncoder(),
            VIDEO_VAE: build_video_vae(_vae_config(published)),
        }


def _vae_config(published: bool) -> Mapping[str, Any]:
    """As Stable Video Diffusion's config.json, or small."""
    return {
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": 4,
        "block_out_channels": (128, 256, 512, 512) if published else (32, 32, 32, 32),
        "layers_per_block": 2 if published else 1,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "sample_size": 768,
        "scaling_factor": 0.18215,
        "force_upcast": True,
    }


def random_hunyuan(widths: tuple[int, ...], device: torch.device, dtype: torch.dtype) -> HunyuanPortrait:
    """The networks with weights that depend on their names alone, and an identity of ones."""
    filled: dict[str, Any] = {}
    for name, network in empty_networks(widths).items():
        facts, state = HUNYUAN_FACTS.get(name, NetworkFacts()), random_state(name, network)
        filled[name] = load_into(network, state, network=name, device=device, dtype=dtype, facts=facts).eval()
    identity = np.ones(IDENTITY_DIM, np.float32)
    return HunyuanPortrait(
        unet=filled["unet"],
        dino=filled["dino"],
        resampler=filled["motion_proj"],
        image_mixer=filled["image_proj"],
        pose_guider=filled["pose_guider"],
        expression=filled["expression"],
        head_pose=filled["headpose"],
        vae=filled[VIDEO_VAE],
        identify=lambda _: identity,
    )


def count_hunyuan(widths: tuple[int, ...], side: int, window: int, decoded: int) -> dict[str, int]:
    """Floating-point operations of one call of each stage; the meta device needs no weights.

    `side` is the picture's in pixels, `window` the frames of the UNet's call and of the motion, with two branches,
    `decoded` those that are decoded at once.
    """
    nets, h = empty_networks(widths), side // PER_LATENT
    dim = nets["unet"].config.context_dim

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    def look() -> None:
        nets["dino"](empty(1, 3, 224, 224), empty(1, 1, IDENTITY_DIM))
        nets[VIDEO_VAE].encode(empty(1, 3, side, side))

    def read() -> None:
        nets["expression"](empty(window, 3, READ_SIDE, READ_SIDE))
        nets["headpose"](empty(window, 3, READ_SIDE, READ_SIDE))
        levels = torch.zeros(window, dtype=torch.long, device="meta")
        nets["motion_proj"](empty(window, EXPRESSION_DIM), levels, levels)

    def denoise() -> None:
        tokens = PairedTokens(*(empty(2 * window, TOKENS, dim) for _ in range(2)))
        ids = torch.tensor(ADDED, device="meta")
        nets["unet"](empty(2, window, 8, h, h), empty(), ids, tokens, empty(1, widths[0], h, h))

    def decode() -> None:
        nets[VIDEO_VAE].decode(empty(decoded, 4, h, h), num_frames=decoded)

    calls: Mapping[str, Callable[[], None]] = {"reference": look, "motion": read, "unet": denoise, "decode": decode}
    for network in nets.values():
        network.to("meta")  # diffusers makes the mixers' weights on the CPU
    with torch.no_grad():
        return {name: count_flops(call) for name, call in calls.items()}
