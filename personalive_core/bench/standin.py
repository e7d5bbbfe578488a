"""A stand-in checkpoint: random small networks in the published layout, so that every stage runs without a download."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import torch
from torch import Tensor, nn

from ..backends.personalive.loader import OWN
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.networks import NetworkSizes, build, small_image_encoder_config, vae_config
from ..modules.face_encoder import FaceEncoderConfig
from ..modules.keypoints import KeypointConfig, KeypointExtractor
from ..modules.pose_guider import DRAWN, PoseGuiderConfig
from ..modules.unet import UNetConfig
from ..weights.fill import is_computed

WIDTHS = (32, 64, 64, 64)
# Positions of a neutral face's drawn keypoints, in [-1, 1] of the picture: brow, eyes, cheeks, nose, chin.
_FACE = ((0.0, -0.42), (-0.2, -0.2), (0.2, -0.2), (-0.25, 0.1), (0.25, 0.1), (0.0, 0.0), (0.0, 0.4))


def standin_sizes(widths: tuple[int, ...] = WIDTHS) -> NetworkSizes:
    """Sizes of small networks around UNets of these widths."""
    return NetworkSizes(
        UNetConfig(widths),
        PoseGuiderConfig(out_channels=widths[0]),
        FaceEncoderConfig(width=64, attention_dim=128),
        KeypointConfig(widths=(24, 48, 96, 192), depths=(1, 1, 2, 1)),
        vae_config((32, 32, 32, 32), 32),
        small_image_encoder_config(64, 768),
        {
            "_class_name": "AutoencoderTiny",
            "encoder_block_out_channels": [16, 16, 16, 16],
            "decoder_block_out_channels": [16, 16, 16, 16],
        },
    )


def random_tensor(name: str, like: Tensor) -> Tensor:
    """A float32 tensor that depends on its name and shape alone: small biases, norm weights near 1, unit gain."""
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
    """Fills parameters and buffers of `module`, except computed ones, with random values; returns its state dict."""
    state = module.state_dict()
    for key, tensor in state.items():
        if not is_computed(key):
            tensor.copy_(random_tensor(f"{prefix}.{key}", tensor))
    return state


@torch.no_grad()
def calm(extractor: KeypointExtractor) -> None:
    """Makes a random extractor find a face in every picture: small head weights, and biases at a face's keypoints."""
    heads = extractor.detector
    for head in (heads.fc_kp, heads.fc_pitch, heads.fc_yaw, heads.fc_roll, heads.fc_t, heads.fc_scale):
        head.weight.mul_(0.02)
    keypoints = heads.fc_kp.bias.view(-1, 3)
    keypoints[list(DRAWN), :2] = torch.tensor(_FACE).to(keypoints)
    heads.fc_t.bias.zero_()
    heads.fc_scale.bias.fill_(1.0)


def write_standin(folder: Path, seed: str = "stand-in") -> Path:
    """Writes the published files into `folder`, at small widths and with random weights; returns `folder`."""
    sizes = standin_sizes()
    model = build(sizes)
    own = folder / "personalive"
    own.mkdir(parents=True, exist_ok=True)
    for name in OWN:
        network = getattr(model, name)
        state = fill(network, f"{seed}.{name}")
        if network is model.motion_extractor:
            calm(network)
        temporal = {key: state.pop(key) for key in [*state] if ".temporal_modules." in key}
        torch.save(state, own / f"{name}.pth")
        if temporal:
            torch.save(temporal, own / "temporal_module.pth")
    _write_library_models(folder, seed, model, sizes)
    return folder


def _write_library_models(folder: Path, seed: str, model: PersonaLive, sizes: NetworkSizes) -> None:
    from safetensors.torch import save_file

    networks = (
        ("sd-vae-ft-mse", model.vae, sizes.vae),
        ("taesd", model.tiny_vae, sizes.tiny_vae),
        ("sd-image-variations-diffusers/image_encoder", model.image_encoder, sizes.image_encoder),
    )
    for place, network, config in networks:
        target = folder / place
        target.mkdir(parents=True, exist_ok=True)
        (target / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
        state = fill(network, f"{seed}.{place}")
        if network is model.image_encoder:
            torch.save(state, target / "pytorch_model.bin")
        else:
            save_file(state, target / "diffusion_pytorch_model.safetensors")
