"""Table of PersonaLive's weight files (source, licence, place), and the loading options of its networks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ...errors import WeightsError
from ...weights.fill import NetworkFacts
from ...weights.index import WeightFile, locate

# Weights that come with this package, by preset.
SHIPPED: Mapping[str, Path] = {"small": Path(__file__).parents[2] / "assets" / "small"}
PUBLISHED_SIZE, SHIPPED_SIZE = 512, 128  # pixels a side of the pictures that the networks were trained on

# Its training began from X-NeMo's weights, so their licence binds whatever the repository and its README say.
_PERSONALIVE = "non-commercial: begun from X-NeMo's weights, CC BY-NC 4.0; its repository says Apache-2.0"
_VARIATIONS = "lambdalabs/sd-image-variations-diffusers"
_OPENRAIL = "CreativeML Open RAIL-M"
# The published VAE names its attention layers as diffusers before 0.17 did; newer names are read unchanged.
_OLD_ATTENTION = (("query", "to_q"), ("key", "to_k"), ("value", "to_v"), ("proj_attn", "to_out.0"))


def _personalive(network: str, stem: str = "", supplies: str = "") -> WeightFile:
    place = f"personalive/{stem or network}.pth"
    path = f"pretrained_weights/{place}"
    return WeightFile(network, "huaichang/PersonaLive", path, place, _PERSONALIVE, supplies=supplies)


def _model(
    network: str, repo: str, path: str, licence: str, required: bool = True, older: tuple[str, ...] = ()
) -> WeightFile:
    renames = _OLD_ATTENTION if network == "vae" else ()
    place = f"{repo.partition('/')[2]}/{path}"
    return WeightFile(network, repo, path, place, licence, required=required, renames=renames, older=older)


_YUNET = "opencv/face_detection_yunet"
_VAE = ("vae", "stabilityai/sd-vae-ft-mse")

# Within a network, a later file's tensors replace an earlier file's. The order is that in which upstream loads them.
FILES: tuple[WeightFile, ...] = (
    _personalive("denoising_unet"),
    _personalive("denoising_unet", "temporal_module", supplies=".temporal_modules."),
    _personalive("reference_unet"),
    _personalive("motion_encoder"),
    _personalive("motion_extractor"),
    _personalive("pose_guider"),
    _model(*_VAE, "config.json", "MIT"),
    _model(*_VAE, "diffusion_pytorch_model.safetensors", "MIT"),
    _model("image_encoder", _VARIATIONS, "image_encoder/config.json", _OPENRAIL),
    _model("image_encoder", _VARIATIONS, "image_encoder/pytorch_model.bin", _OPENRAIL),
    _model("taesd", "madebyollin/taesd", "config.json", "MIT", required=False),
    _model("taesd", "madebyollin/taesd", "diffusion_pytorch_model.safetensors", "MIT", required=False),
    _model("base_unet", _VARIATIONS, "unet/config.json", _OPENRAIL, required=False),
    _model("base_unet", _VARIATIONS, "unet/diffusion_pytorch_model.bin", _OPENRAIL, required=False),
    # 2026may is 2023mar with free height and width, which some builds of OpenCV 5 need. The weights are the same.
    _model("yunet", _YUNET, "face_detection_yunet_2026may.onnx", "MIT", False, ("face_detection_yunet_2023mar.onnx",)),
)

# About how large the files are, in MB: enough to tell before the hub is asked.
_MEGABYTES: Mapping[str, float] = {
    "denoising_unet.pth": 3438,
    "temporal_module.pth": 3306,
    "reference_unet.pth": 3438,
    "motion_encoder.pth": 247,
    "motion_extractor.pth": 112,
    "pose_guider.pth": 4.4,
    "sd-vae-ft-mse/diffusion_pytorch_model.safetensors": 335,
    "image_encoder/pytorch_model.bin": 1216,
    "taesd/diffusion_pytorch_model.safetensors": 9.8,
    "unet/diffusion_pytorch_model.bin": 3438,
    "face_detection_yunet_2026may.onnx": 0.23,
}

NETWORKS: tuple[str, ...] = tuple(dict.fromkeys(file.network for file in FILES))

FACTS: Mapping[str, NetworkFacts] = {
    # Upstream reads denoising_unet.pth and temporal_module.pth with strict=False: they may hold more keys. base_unet
    # only fills what both lack: its other keys are never taken, so they are no extras.
    "denoising_unet": NetworkFacts(extra_allowed=True),
    "motion_extractor": NetworkFacts(
        # Upstream ignores extra keys here too: the published file may hold keys that the network lacks.
        extra_allowed=True,
        # In half precision, the extractor's LayerNorms change the keypoints.
        float32=re.compile(r"(^|\.)norm\.|(^|\.)downsample_layers\.(0\.1|[123]\.0)\."),
    ),
    # In half precision, BatchNorm's variances overflow.
    "motion_encoder": NetworkFacts(float32=re.compile(r"\.running_(mean|var)$")),
}


def facts_of(network: str) -> NetworkFacts:
    """Loading options of `network`; most networks have the defaults."""
    return FACTS.get(network, NetworkFacts())


def own_size(weights: Path) -> int:
    """Side in pixels of the pictures that the networks in the folder `weights` were trained on."""
    return SHIPPED_SIZE if weights in SHIPPED.values() else PUBLISHED_SIZE


def about_bytes(file: WeightFile) -> int:
    """About how many bytes the published file has; 0 for a configuration."""
    return next((round(size * 1e6) for end, size in _MEGABYTES.items() if file.place.endswith(end)), 0)


def yunet_file(weights: Path, problem: str) -> Path:
    """YuNet's file in the folder `weights`. Raises WeightsError with the text `problem` if it is missing."""
    index = locate(weights, FILES)
    if index.missing(("yunet",)):
        raise WeightsError(problem)
    return index.path("yunet")
