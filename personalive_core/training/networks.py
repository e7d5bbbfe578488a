"""Networks for training: freshly initialised or loaded from a weights folder, and saved in the published layout."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..backends.personalive.files import FILES
from ..backends.personalive.loader import NEEDED, load_model
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.networks import NetworkSizes, build, small_image_encoder_config, vae_config
from ..errors import InputError
from ..media.files import save_tensors, whole_file
from ..modules.face_encoder import FaceEncoder, FaceEncoderConfig
from ..modules.keypoints import KeypointConfig
from ..modules.pose_guider import PoseGuider, PoseGuiderConfig
from ..modules.unet import UNet, UNetConfig
from ..weights.fill import is_computed
from ..weights.index import converted_place
from ..weights.read import CONFIG_KEY
from .files import make_folder
from .fresh_vae import SMALL_INIT, begin_with_colours

SHAPES: dict[str, NetworkSizes] = {
    "small": NetworkSizes(
        UNetConfig((64, 64, 96, 96), layers=1, heads=4, groups=8, image_dim=128, preconditioned=True),
        PoseGuiderConfig(64, (8, 16, 32, 64)),
        FaceEncoderConfig(width=64, attention_dim=64, heads=1),
        KeypointConfig((24, 48, 96, 192), (1, 1, 2, 1)),
        vae_config((16, 32, 64, 128), 1),
        small_image_encoder_config(64, 128),
    ),
    "portrait": NetworkSizes(  # 256 pixels a side; 18.3 M parameters, 37 MB in float16
        UNetConfig((64, 64, 96, 96), layers=1, heads=4, groups=8, image_dim=128, preconditioned=True),
        PoseGuiderConfig(64, (8, 16, 32, 64)),
        FaceEncoderConfig(width=64, attention_dim=64, heads=1),
        KeypointConfig((24, 48, 96, 192), (1, 1, 2, 1)),
        vae_config((24, 48, 96, 128), 1),
        small_image_encoder_config(64, 128),
    ),
    "twin": NetworkSizes(  # for the tests
        UNetConfig((16, 16, 16, 16), layers=1, heads=2, groups=4, image_dim=16, preconditioned=True),
        PoseGuiderConfig(16, (4, 8, 8, 8)),
        FaceEncoderConfig(width=64, attention_dim=32, heads=2),
        KeypointConfig((8, 8, 16, 16), (1, 1, 1, 1)),
        vae_config((8, 8, 8, 8), 4),
        small_image_encoder_config(16, 16),
    ),
}
SHAPES["portrait-history"] = SHAPES["portrait"]
SHAPES["portrait-regions"] = SHAPES["portrait"]  # the region cue's layer is added, from zero


def fresh(sizes: NetworkSizes, seed: int) -> PersonaLive:
    """Untrained networks whose weights depend on `seed` and each weight's name alone; float32, on the CPU."""
    model = build(sizes)
    for name in NEEDED:
        initialise(getattr(model, name), f"{seed}.{name}")
    for unet in (model.reference_unet, model.denoising_unet):
        soften_branches(unet)
    zero_temporal(model.denoising_unet)
    zero_output(model.denoising_unet)
    begin_with_colours(model.vae)
    start_above_zero(model.motion_encoder)
    return model


@torch.no_grad()
def initialise(network: nn.Module, seed: str) -> None:
    """Draws matrices and their biases with variance 1 / fan-in, which preserves the variance of the activations.

    Norms get weight 1 and bias 0. Other biases are not 0: where a picture is black, layer norms would then see features
    without variance, and gradients would explode.
    """
    state = network.state_dict()
    for key, tensor in state.items():
        owner, _, leaf = key.rpartition(".")
        if is_computed(key) or not tensor.is_floating_point() or leaf.startswith("running_"):
            continue
        like = state.get(f"{owner}.weight", tensor) if leaf == "bias" else tensor
        if like.ndim > 1 and leaf not in ("gamma", "beta"):
            digest = hashlib.sha256(f"{seed}.{key}".encode()).digest()
            generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:7], "little"))
            tensor.copy_(torch.randn(tensor.shape, generator=generator) / math.sqrt(math.prod(like.shape[1:])))
        else:
            tensor.fill_(1.0 if leaf == "weight" else 0.0)


@torch.no_grad()
def soften_branches(unet: nn.Module) -> None:
    """Shrinks the last layer of each residual branch: a fresh UNet is nearly a chain of its resampling layers."""
    for key, parameter in unet.named_parameters():
        if key.endswith(("conv2.weight", "proj_out.weight")):
            parameter.mul_(SMALL_INIT)


@torch.no_grad()
def start_above_zero(motion_encoder: FaceEncoder) -> None:
    """Initialises the one map after `conv6`, from which the embedding is read, far above zero and nearly flat.

    Otherwise the first steps, which shrink a large random embedding, push the map below zero, and its ReLU has no
    gradient any more. The weights of `fc` have mean 0 over the map's positions, so that no gradient pushes the whole
    map up or down. They keep their usual size, so that gradients reach the layers before the map.
    """
    model = motion_encoder.model
    model.conv6.weight.mul_(SMALL_INIT)
    model.get_parameter("conv6.bias").fill_(3.0)
    model.fc.weight.sub_(model.fc.weight.mean(1, keepdim=True))


@torch.no_grad()
def zero_temporal(denoising_unet: nn.Module) -> None:
    """Zero-initialises the output layers of the temporal modules, so that stage 3 starts from stage 2's outputs."""
    for key, tensor in denoising_unet.state_dict().items():
        if ".temporal_modules." in key and ".temporal_transformer.proj_out." in key:
            tensor.zero_()


@torch.no_grad()
def zero_output(denoising_unet: nn.Module) -> None:
    """Zero-initialises the output layer, so that a fresh UNet predicts the preconditioner's skip term alone.

    Then nearly all of its input counts as noise at the highest noise level, and nearly none at the lowest.
    """
    for leaf in ("weight", "bias"):
        denoising_unet.get_parameter(f"conv_out.{leaf}").zero_()


@torch.no_grad()
def with_region_cue(model: PersonaLive) -> PersonaLive:
    """`model` with a region cue in its pose guider, whose layer is zero: to the same bits, it does the same as before.

    Its other weights are shared. A model that has one stays as it is.
    """
    own = model.pose_guider
    if model.has_cue:
        return model
    guider = PoseGuider(replace(own.config, region_cue=True))
    added = {"conv_regions.weight": torch.zeros_like(guider.conv_regions.weight, device=own.conv_in.weight.device)}
    guider.load_state_dict({**own.state_dict(), **added}, assign=True)  # memory formats stay: they choose the kernels
    return replace(model, pose_guider=guider.eval())


def trainable(folder: Path, device: torch.device) -> PersonaLive:
    """Loads the networks of a weights folder in float32, to continue training from them. Raises WeightsError."""
    return load_model(folder, device, torch.float32, speed="plain")


def recomputing(model: PersonaLive) -> PersonaLive:
    """`model` with gradient checkpointing in its UNets: less memory, more time; the weights are shared."""
    unets = {}
    for name in ("reference_unet", "denoising_unet"):
        unet = copy.copy(getattr(model, name))
        unet.config = replace(unet.config, recomputes=True)
        unets[name] = unet
    return replace(model, **unets)


def remembering(model: PersonaLive, frames: int) -> PersonaLive:
    """`model` whose denoising UNet says that it was trained with `frames` frames of history; the weights are shared.

    Raises InputError for chunk-wise temporal attention, which sees no history.
    """
    unet = copy.copy(model.denoising_unet)
    if unet.config.chunk_frames:
        raise InputError(
            "history needs temporal attention over all frames, but these weights attend in chunks: use others"
        )
    unet.config = replace(unet.config, history=frames)
    return replace(model, denoising_unet=unet)


def chunked(model: PersonaLive, frames: int) -> PersonaLive:
    """`model` with chunk-wise temporal attention: only the `frames` of one chunk see each other; same weights."""
    own = model.denoising_unet
    unet = UNet(replace(own.config, chunk_frames=frames))
    unet.load_state_dict(own.state_dict())
    return replace(model, denoising_unet=unet.to(model.device).eval())


def with_networks(model: PersonaLive, networks: Mapping[str, Any]) -> PersonaLive:
    """`model` with some of its networks replaced."""
    return replace(model, **networks)


def save_networks(model: PersonaLive, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """Writes every network into `folder` in the published layout, as safetensors; each file is written atomically.

    Floating-point tensors become `dtype`. Returns `folder`. Raises OutputError where it cannot be written.
    """
    for name in NEEDED:
        network = getattr(model, name)
        place = folder / converted_place(FILES, name)
        make_folder(place.parent)
        save_tensors(place, _tensors(network, dtype), {"format": "pt", **_metadata(network)})
        if name in ("vae", "image_encoder"):
            config = network.config
            values = {**config} if isinstance(config, Mapping) else config.to_dict()
            text = json.dumps({key: values[key] for key in sorted(values)}, indent=1, default=str)
            with whole_file(place.with_name("config.json"), (".json",)) as partial:
                partial.write_text(text, encoding="utf-8")
    return folder


def _tensors(network: nn.Module, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        key: tensor.to(dtype if tensor.is_floating_point() else tensor.dtype)
        for key, tensor in network.state_dict().items()
    }


def _metadata(network: nn.Module) -> dict[str, str]:
    """Settings of a network that a loader cannot derive from the tensors' shapes."""
    if isinstance(network, UNet):
        unet = network.config
        # "chunk" is `chunk_frames`: written files have that name
        stored = {"heads": unet.heads, "groups": unet.groups, "chunk": unet.chunk_frames}
        stored["preconditioned"] = int(unet.preconditioned)
        stored |= {"history": unet.history} if unet.history else {}
    elif isinstance(network, FaceEncoder):
        stored = {"heads": network.config.heads}
    else:
        return {}
    return {CONFIG_KEY: json.dumps(stored)}


def networks_of(model: PersonaLive, names: tuple[str, ...]) -> nn.ModuleDict:
    """The model's networks of these `names` as one module. Raises InputError for an unknown name."""
    known = {entry.name for entry in fields(model)} & set(NEEDED)
    if unknown := set(names) - known:
        raise InputError(f"there is no network {', '.join(sorted(unknown))}: choose of {', '.join(sorted(known))}")
    return nn.ModuleDict({name: getattr(model, name) for name in names})
