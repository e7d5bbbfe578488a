"""Table of HunyuanPortrait's weight files, what its licence forbids, and how the networks are loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import InputError
from ...weights.convert import convert
from ...weights.fill import NetworkFacts
from ...weights.index import WeightFile, WeightIndex, locate

# What a user accepts, wherever the switch is.
LICENCE_TERMS = (
    "HunyuanPortrait's code, parameters and weights are for academic, research and education purposes only: never for "
    "commercial use, and never in production"
)
_OWN = "HunyuanPortrait: academic, research and education use only"
_SVD = "Stable Video Diffusion: Stability AI's own licence"
_ARCFACE = "InsightFace: non-commercial research only"

OWN_NETWORKS = ("unet", "dino", "motion_proj", "image_proj", "pose_guider", "expression", "headpose")
VIDEO_VAE, ARCFACE = "vae", "arcface"
HUNYUAN_NETWORKS = (*OWN_NETWORKS, VIDEO_VAE, ARCFACE)

_VIDEO = "stabilityai/stable-video-diffusion-img2vid-xt"
_DECODER, _DECODER_FULL = "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.safetensors"

HUNYUAN_FILES: tuple[WeightFile, ...] = (
    *(
        WeightFile(network, "tencent/HunyuanPortrait", f"{network}.pth", f"hyportrait/{network}.pth", _OWN)
        for network in OWN_NETWORKS
    ),
    WeightFile(VIDEO_VAE, _VIDEO, "vae/config.json", "vae/config.json", _SVD),
    WeightFile(VIDEO_VAE, _VIDEO, f"vae/{_DECODER}", f"vae/{_DECODER}", _SVD, older=(_DECODER_FULL,)),
    WeightFile(ARCFACE, "FoivosPar/Arc2Face", "arcface.onnx", "arcface.onnx", _ARCFACE, revision="da2f1e9"),
)

_ALL = NetworkFacts(float32=re.compile(""))
HUNYUAN_FACTS: Mapping[str, NetworkFacts] = {
    # Small networks that run once for each frame or picture: half precision would save nothing.
    **dict.fromkeys(("motion_proj", "image_proj", "pose_guider", "expression", "headpose"), _ALL),
    # The encoder overflows in half precision (`force_upcast` in its configuration).
    VIDEO_VAE: NetworkFacts(float32=re.compile(r"^(encoder|quant_conv)\.")),
}


def check_licence(accepted: bool) -> None:
    """Raises InputError that says what may not be done, unless the user has accepted the licence."""
    if not accepted:
        raise InputError(f"{LICENCE_TERMS}; it was not accepted: accept the licence, or choose another system")


def locate_hunyuan(folder: Path) -> WeightIndex:
    """The files in `folder`. Raises WeightsError that says where each missing one was searched; none is downloaded."""
    index = locate(folder, HUNYUAN_FILES)
    index.require(HUNYUAN_NETWORKS)
    return index


def convert_hunyuan(folder: Path, output: Path | None, dtype: torch.dtype, license_accepted: bool) -> list[Path]:
    """Converts what `folder` holds of the weights, as `convert` does; returns the files' paths.

    Raises InputError unless the licence is accepted.
    """
    check_licence(license_accepted)
    return convert(folder, HUNYUAN_FILES, HUNYUAN_FACTS, output, dtype)
