"""Table of HunyuanPortrait's weight files, what its licence forbids, and how the networks are loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch

from ...errors import InputError, WeightsError
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
        raise InputError(
            f"{LICENCE_TERMS}; it was not accepted: accept the licence (--accept-hunyuan-licence, or the switch of "
            "Load HunyuanPortrait), or choose another system"
        )


def locate_hunyuan(folder: Path) -> WeightIndex:
    """The files in `folder`. Raises WeightsError that says where each missing one was searched; none is downloaded."""
    index = hunyuan_index(folder)
    missing = index.missing(HUNYUAN_NETWORKS)
    if missing:
        raise WeightsError(f"weights are missing: {to_place(folder)}\n{index.report(missing)}")
    return index


def hunyuan_index(folder: Path) -> WeightIndex:
    """The files in `folder`, which may lack some. Raises WeightsError that says what to place there if it is none."""
    if not folder.is_dir():
        raise WeightsError(f"the weights folder {folder} does not exist: make it, and {to_place(folder)}")
    return locate(folder, HUNYUAN_FILES)


def to_place(folder: Path) -> str:
    """What the user does to have the weights in `folder`, which nothing here does for them."""
    files = ", ".join(f"{file.path} of {file.repo} as {file.place}" for file in HUNYUAN_FILES)
    return f"get these files from huggingface.co under their licences and put them into {folder}: {files}"


def refuse_download(folder: Path) -> None:
    """Raises WeightsError: what is to be placed where, and under which licences."""
    licences = "; ".join(dict.fromkeys(file.licence for file in HUNYUAN_FILES))
    raise WeightsError(
        f"HunyuanPortrait's weights are never downloaded, for you alone can accept their licences ({licences}; "
        f"{LICENCE_TERMS}): {to_place(folder)}"
    )


def convert_hunyuan(folder: Path, output: Path | None, dtype: torch.dtype, license_accepted: bool) -> list[Path]:
    """Converts what `folder` holds of the weights, as `convert` does; returns the files' paths.

    Raises InputError unless the licence is accepted.
    """
    check_licence(license_accepted)
    hunyuan_index(folder)
    return convert(folder, HUNYUAN_FILES, HUNYUAN_FACTS, output, dtype)
