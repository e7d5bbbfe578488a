"""All networks of one size with fresh weights, or with those of a folder, as plain modules that can learn."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..loader import NEEDED, load_model
from ..model import PersonaLive
from ..modules.face_encoder import FaceEncoder, FaceEncoderConfig
from ..modules.keypoints import KeypointConfig, KeypointExtractor
from ..modules.pose_guider import PoseGuider, PoseGuiderConfig
from ..modules.unet import UNet, UNetConfig
from ..output import whole_file
from ..weights import CONFIG_KEY, converted_place

FRESH_LOG_VARIANCE = -6.0
_COMPUTED = ("pe", "idx_tensor", "num_batches_tracked", "position_ids", "positions")


def _vae(widths: tuple[int, ...], groups: int) -> dict[str, Any]:
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": list(widths),
        "down_block_types": ["DownEncoderBlock2D"] * len(widths),
        "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "latent_channels": 4,
        "layers_per_block": 1,
        "norm_num_groups": groups,
    }


def _image_encoder(width: int, dim: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "projection_dim": dim,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 224,
        "patch_size": 32,
    }


@dataclass(frozen=True)
class Shapes:
    """Widths of every network of a model."""

    unet: UNetConfig
    pose_guider: PoseGuiderConfig
    face_encoder: FaceEncoderConfig
    keypoints: KeypointConfig
    vae: Mapping[str, Any] = field(hash=False)
    image_encoder: Mapping[str, Any] = field(hash=False)


SHAPES: dict[str, Shapes] = {
    "small": Shapes(
        UNetConfig((64, 96, 128, 128), layers=1, heads=4, groups=2, image_dim=128),
        PoseGuiderConfig(64, (8, 16, 32, 64)),
        FaceEncoderConfig(width=64, attention_dim=64),
        KeypointConfig((24, 48, 96, 192), (1, 1, 2, 1)),
        _vae((16, 32, 64, 128), 4),
        _image_encoder(64, 128),
    ),
    "twin": Shapes(  # the tests'
        UNetConfig((16, 16, 16, 16), layers=1, heads=2, groups=4, image_dim=16),
        PoseGuiderConfig(16, (4, 8, 8, 8)),
        FaceEncoderConfig(width=64, attention_dim=32),
        KeypointConfig((8, 8, 16, 16), (1, 1, 1, 1)),
        _vae((8, 8, 8, 8), 4),
        _image_encoder(16, 16),
    ),
}


def fresh(shapes: Shapes, seed: int) -> PersonaLive:
    """Untrained networks whose weights are a function of `seed` and each weight's name; float32, on the CPU."""
    from diffusers import AutoencoderKL
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    networks: dict[str, nn.Module] = {
        "reference_unet": UNet(replace(shapes.unet, denoises=False)),
        "denoising_unet": UNet(shapes.unet),
        "pose_guider": PoseGuider(shapes.pose_guider),
        "motion_encoder": FaceEncoder(shapes.face_encoder),
        "motion_extractor": KeypointExtractor(shapes.keypoints),
        "vae": AutoencoderKL.from_config(dict(shapes.vae)),
        "image_encoder": CLIPVisionModelWithProjection(CLIPVisionConfig(**shapes.image_encoder)),
    }
    for name, network in networks.items():
        initialise(network, f"{seed}.{name}")
    silence_temporal(networks["denoising_unet"])
    sharpen_posterior(networks["vae"])
    return PersonaLive(**{name: network.eval() for name, network in networks.items()})


@torch.no_grad()
def initialise(network: nn.Module, seed: str) -> None:
    """Matrices of variance 1 / (3 fan-in), as torch's own layers have; norms of 1 and 0; biases of 0."""
    for key, tensor in network.state_dict().items():
        leaf = key.rpartition(".")[2]
        if leaf in _COMPUTED or not tensor.is_floating_point() or leaf.startswith("running_"):
            continue
        if tensor.ndim > 1 and leaf not in ("gamma", "beta"):
            digest = hashlib.sha256(f"{seed}.{key}".encode()).digest()
            generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "little"))
            noise = torch.randn(tensor.shape, generator=generator)
            tensor.copy_(noise / math.sqrt(3 * math.prod(tensor.shape[1:])))
        else:
            tensor.fill_(1.0 if leaf == "weight" else 0.0)


@torch.no_grad()
def silence_temporal(denoising_unet: nn.Module) -> None:
    """Fresh temporal modules add nothing, so that stage 3 starts from what stage 2 made."""
    for key, tensor in denoising_unet.state_dict().items():
        if ".temporal_modules." in key and ".temporal_transformer.proj_out." in key:
            tensor.zero_()


@torch.no_grad()
def sharpen_posterior(vae: nn.Module) -> None:
    """A fresh VAE's latents vary little around their mean, so that its decoder has something to learn from."""
    bias = vae.get_parameter("quant_conv.bias")
    bias[len(bias) // 2 :] = FRESH_LOG_VARIANCE


def trainable(folder: Path, device: torch.device) -> PersonaLive:
    """The networks of a weights folder in float32, for training on from them. Raises WeightsError."""
    return load_model(folder, device, torch.float32)


def with_networks(model: PersonaLive, networks: Mapping[str, nn.Module]) -> PersonaLive:
    """`model` with some of its networks replaced."""
    return replace(model, **networks)


def save_networks(model: PersonaLive, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Writes every network into `folder` in the published layout, as safetensors, each file whole or not at all.

    Raises OutputError where the folder cannot be written.
    """
    from safetensors.torch import save_file

    for name in NEEDED:
        network = getattr(model, name)
        place = folder / converted_place(name)
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place, (".safetensors",)) as partial:
            save_file(_tensors(network, dtype), partial, metadata={"format": "pt", **_metadata(network)})
        config = getattr(network, "config", None)
        if name in ("vae", "image_encoder"):
            values = {**config} if isinstance(config, Mapping) else config.to_dict()
            text = json.dumps({key: values[key] for key in sorted(values)}, indent=1, default=str)
            with whole_file(place.with_name("config.json"), (".json",)) as partial:
                partial.write_text(text, encoding="utf-8")
    return folder


def _tensors(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        key: tensor.detach().to(dtype if tensor.is_floating_point() else tensor.dtype).contiguous().cpu()
        for key, tensor in network.state_dict().items()
    }


def _metadata(network: nn.Module) -> dict[str, str]:
    """What shapes do not tell of a UNet."""
    if not isinstance(network, UNet):
        return {}
    return {CONFIG_KEY: json.dumps({"heads": network.config.heads, "groups": network.config.groups})}


def networks_of(model: PersonaLive, names: tuple[str, ...]) -> nn.ModuleDict:
    """Those of the model's networks as one module. Raises InputError for a name that is none."""
    known = {entry.name for entry in fields(model)} & set(NEEDED)
    if unknown := set(names) - known:
        raise InputError(f"there is no network {', '.join(sorted(unknown))}: choose of {', '.join(sorted(known))}")
    return nn.ModuleDict({name: getattr(model, name) for name in names})
