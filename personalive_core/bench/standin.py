"""A stand-in checkpoint: random small networks in the published layout, so that every stage runs without a download."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..modules.face_encoder import FaceEncoder, FaceEncoderConfig
from ..modules.keypoints import KeypointConfig, KeypointExtractor
from ..modules.pose_guider import DRAWN, PoseGuider, PoseGuiderConfig
from ..modules.unet import UNet, UNetConfig
from ..weights.fill import is_computed

WIDTHS = (32, 64, 64, 64)
SMALL_KEYPOINTS = KeypointConfig(widths=(24, 48, 96, 192), depths=(1, 1, 2, 1))
SMALL_FACE_ENCODER = FaceEncoderConfig(width=64, attention_dim=128)
VAE_CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 4,
    "layers_per_block": 1,
    "norm_num_groups": 32,
}
TINY_VAE_CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderTiny",
    "encoder_block_out_channels": [16, 16, 16, 16],
    "decoder_block_out_channels": [16, 16, 16, 16],
}
IMAGE_ENCODER_CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "projection_dim": 768,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 224,
    "patch_size": 32,
}
# Where the drawn keypoints of a calm face sit, in [-1, 1] of the picture: brow, eyes, cheeks, nose, chin.
_FACE = ((0.0, -0.42), (-0.2, -0.2), (0.2, -0.2), (-0.25, 0.1), (0.25, 0.1), (0.0, 0.0), (0.0, 0.4))


def random_tensor(name: str, like: Tensor) -> Tensor:
    """A float32 tensor that is a function of its name and shape: small biases, norms near 1, unit gain."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "little")
    noise = torch.randn(like.shape, generator=torch.Generator("cpu").manual_seed(seed))
    leaf = name.rpartition(".")[2]
    if leaf in ("bias", "running_mean", "beta"):
        return 0.02 * noise
    if like.ndim <= 1:
        return 1 + 0.1 * noise.abs()
    return noise / math.sqrt(math.prod(like.shape[1:]))


@torch.no_grad()
def fill(module: nn.Module, prefix: str) -> dict[str, Tensor]:
    """Gives every parameter and statistic of `module` its random tensor; returns the state dict."""
    state = module.state_dict()
    for key, tensor in state.items():
        if not is_computed(key):
            tensor.copy_(random_tensor(f"{prefix}.{key}", tensor))
    return state


@torch.no_grad()
def calm(extractor: KeypointExtractor) -> None:
    """Makes a random extractor see a face in every picture: weak heads around a face's keypoints."""
    heads = extractor.detector
    for head in (heads.fc_kp, heads.fc_pitch, heads.fc_yaw, heads.fc_roll, heads.fc_t, heads.fc_scale):
        head.weight.mul_(0.02)
    keypoints = heads.fc_kp.bias.view(-1, 3)
    keypoints[list(DRAWN), :2] = torch.tensor(_FACE).to(keypoints)
    heads.fc_t.bias.zero_()
    heads.fc_scale.bias.fill_(1.0)


def write_standin(folder: Path, seed: str = "stand-in") -> Path:
    """Writes the published files, at small widths and with random weights, into `folder`; returns it."""
    extractor = KeypointExtractor(SMALL_KEYPOINTS)
    networks: dict[str, nn.Module] = {
        "reference_unet": UNet(UNetConfig(WIDTHS, denoises=False)),
        "denoising_unet": UNet(UNetConfig(WIDTHS)),
        "pose_guider": PoseGuider(PoseGuiderConfig(out_channels=WIDTHS[0])),
        "motion_encoder": FaceEncoder(SMALL_FACE_ENCODER),
        "motion_extractor": extractor,
    }
    own = folder / "personalive"
    own.mkdir(parents=True, exist_ok=True)
    for name, network in networks.items():
        state = fill(network, f"{seed}.{name}")
        if network is extractor:
            calm(extractor)
        temporal = {key: state.pop(key) for key in [*state] if ".temporal_modules." in key}
        torch.save(state, own / f"{name}.pth")
        if temporal:
            torch.save(temporal, own / "temporal_module.pth")
    _write_library_models(folder, seed)
    return folder


def _write_library_models(folder: Path, seed: str) -> None:
    from diffusers import AutoencoderKL, AutoencoderTiny
    from safetensors.torch import save_file
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**IMAGE_ENCODER_CONFIG))
    models = (
        ("sd-vae-ft-mse", AutoencoderKL.from_config(VAE_CONFIG), VAE_CONFIG),
        ("taesd", AutoencoderTiny.from_config(TINY_VAE_CONFIG), TINY_VAE_CONFIG),
        ("sd-image-variations-diffusers/image_encoder", encoder, IMAGE_ENCODER_CONFIG),
    )
    for place, model, config in models:
        target = folder / place
        target.mkdir(parents=True, exist_ok=True)
        (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        state = fill(model, f"{seed}.{place}")
        if model is encoder:
            torch.save(state, target / "pytorch_model.bin")
        else:
            save_file(state, target / "diffusion_pytorch_model.safetensors")
