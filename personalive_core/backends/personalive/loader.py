"""Loads the networks from a weights folder; shapes come from the checkpoints, so the same code loads any width."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...errors import InputError
from ...modules.face_encoder import FaceEncoder, FaceEncoderConfig
from ...modules.kernels import fast_ops
from ...modules.keypoints import KeypointExtractor
from ...modules.layers import Ops
from ...modules.pose_guider import PoseGuider, PoseGuiderConfig
from ...modules.unet import UNet, UNetConfig
from ...text import warn_once
from ...weights.fill import hold_in, load_into, missing_keys
from ...weights.index import WeightIndex, locate, read_state
from ...weights.read import State, read_config
from ..building import Shapes, build_on_meta, count, keypoint_config, library_config
from .files import FILES, facts_of
from .model import PersonaLive
from .networks import build_image_encoder, build_tiny_vae, build_vae
from .speed.choice import choose_speed
from .speed.runner import with_speed

OWN = ("reference_unet", "denoising_unet", "pose_guider", "motion_encoder", "motion_extractor")  # PersonaLive's own
NEEDED = (*OWN, "vae", "image_encoder")
HELD_SMALL = ("reference_unet", "denoising_unet")  # stored as `Host.storage`: nine tenths of all weights
TELLING = (*HELD_SMALL, "motion_encoder")  # file headers may hold config values that shapes do not show
DECODERS = {"full": NEEDED, "tiny": (*NEEDED, "taesd")}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """What a host program such as ComfyUI supplies itself; by default nothing."""

    ops: Ops = nn  # the namespace of layer classes
    storage: torch.dtype | None = None  # dtype in which both UNets' matrices are stored; `ops` must cast them for use
    vae: Any = None  # replaces the folder's VAE; has the same `encode` and `decode`
    image_encoder: Any = None  # replaces the folder's image encoder

    def needs(self, decoder: str) -> tuple[str, ...]:
        """The networks to load from the weights folder: those that the host does not supply."""
        brought = {name for name in ("vae", "image_encoder") if getattr(self, name) is not None}
        return tuple(network for network in DECODERS[decoder] if network not in brought)


def load_model(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    decoder: str = "full",
    host: Host = Host(),
    speed: str = "auto",
) -> PersonaLive:
    """Loads the networks of `folder` onto `device` as `dtype`, in eval mode; `decoder` is a key of `DECODERS`.

    `speed` is one of `SPEEDS`; a host that brings layers chooses it itself, see `with_speed`. Raises InputError for an
    unknown decoder or speed, WeightsError that names missing files, or keys that do not fit.
    """
    if decoder not in DECODERS:
        raise InputError(f"unknown decoder {decoder!r}: use {' or '.join(DECODERS)}")
    chosen = choose_speed(speed if host.ops is nn else "plain", device)
    return with_speed(_loaded(folder, device, dtype, decoder, host), chosen)


def _loaded(folder: Path, device: torch.device, dtype: torch.dtype, decoder: str, host: Host) -> PersonaLive:
    index, ops = locate(folder, FILES), host.ops if host.ops is not nn else library_ops(device)
    index.require(host.needs(decoder))

    def load(network: str, build: Callable[..., nn.Module]) -> Any:  # noqa: ANN401 - each network has its own type
        state = read_state(index, network)
        extra = read_config(state) if network in TELLING else {}
        module = build_on_meta(network, lambda shapes: build(shapes, **extra), state.shapes)
        if network == "denoising_unet":
            state = complete(state, module, index)
        module = load_into(module, state, network=network, device=device, dtype=dtype, facts=facts_of(network))
        if host.storage is not None and network in HELD_SMALL:
            hold_in(module, host.storage)
        # half-precision convolutions are faster in channels-last memory format
        return module.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub lacks it

    # our networks get their config from tensor shapes, those of diffusers and transformers from config.json
    return PersonaLive(
        reference_unet=load(
            "reference_unet", lambda shapes, **more: UNet(unet_config(shapes, False, StoredConfig(**more)), ops)
        ),
        denoising_unet=load(
            "denoising_unet", lambda shapes, **more: UNet(unet_config(shapes, True, StoredConfig(**more)), ops)
        ),
        pose_guider=load("pose_guider", lambda shapes: PoseGuider(pose_guider_config(shapes), ops)),
        motion_encoder=load(
            "motion_encoder", lambda shapes, **more: FaceEncoder(face_encoder_config(shapes, **more), ops)
        ),
        motion_extractor=load("motion_extractor", lambda shapes: KeypointExtractor(keypoint_config(shapes), ops)),
        vae=host.vae or load("vae", lambda _: build_vae(library_config(index, "vae"), ops)),
        image_encoder=host.image_encoder
        or load("image_encoder", lambda _: build_image_encoder(library_config(index, "image_encoder"))),
        tiny_vae=load("taesd", lambda _: build_tiny_vae(library_config(index, "taesd"), ops))
        if decoder == "tiny"
        else None,
    )


def library_ops(device: torch.device) -> Ops:
    """Torch's layers, on a GPU with fused kernels between them; why not, is logged once."""
    ops, reason = fast_ops(device)
    if reason and device.type == "cuda":
        warn_once(_log, reason)
    return ops


@dataclass(frozen=True)
class StoredConfig:
    """Values of a UNet's config that shapes do not show, by their names in file headers, with the published ones."""

    heads: int = 8
    groups: int = 32
    chunk: int = 0  # the config's `chunk_frames`
    preconditioned: int = 0
    history: int = 0


def unet_config(shapes: Shapes, denoises: bool, stored: StoredConfig = StoredConfig()) -> UNetConfig:
    """Config of a UNet from its checkpoint's shapes, and from what its file's header says besides."""
    blocks = count(shapes, "down_blocks.{}.resnets.0.conv1.weight")
    return UNetConfig(
        widths=tuple(shapes[f"down_blocks.{i}.resnets.0.conv1.weight"][0] for i in range(max(blocks, 1))),
        denoises=denoises,
        layers=count(shapes, "down_blocks.0.resnets.{}.conv1.weight"),
        heads=stored.heads,
        groups=stored.groups,
        chunk_frames=stored.chunk,
        preconditioned=bool(stored.preconditioned),
        history=stored.history,
        image_dim=shapes["mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"][1],
        motion_dim=shapes[
            "mid_block.motion_modules.0.temporal_transformer.transformer_blocks.0.attention_blocks.0.to_k.weight"
        ][1]
        if denoises
        else UNetConfig.motion_dim,
        latent_channels=shapes["conv_in.weight"][1],
    )


def pose_guider_config(shapes: Shapes) -> PoseGuiderConfig:
    """Config of a pose guider from its checkpoint's shapes."""
    blocks = count(shapes, "blocks.{}.weight")
    widths = [shapes["conv_in.weight"][0], *(shapes[f"blocks.{i}.weight"][0] for i in range(1, blocks, 2))]
    return PoseGuiderConfig(
        out_channels=shapes["conv_out_modify.weight"][0],
        widths=tuple(widths),
        region_cue="conv_regions.weight" in shapes,
    )


def face_encoder_config(shapes: Shapes, heads: int = FaceEncoderConfig.heads) -> FaceEncoderConfig:
    """Config of a facial motion encoder from its checkpoint's shapes."""
    token_dim = shapes["pe"][2] if "pe" in shapes else FaceEncoderConfig.token_dim
    return FaceEncoderConfig(
        width=shapes["model.conv_last0.weight"][0],
        attention_dim=shapes["model.att_1.pos_embed.proj.weight"][0],
        heads=heads,
        maps=shapes["model.l0.weight"][0],
        tokens=shapes["final_proj.weight"][0] // token_dim,
        token_dim=token_dim,
    )


def complete(state: State, module: torch.nn.Module, index: WeightIndex) -> State:
    """Fills the denoising UNet's missing keys from the base Stable Diffusion UNet, as upstream does.

    The base UNet's file is needed only if keys are missing; then raises WeightsError if that file is missing too. Keys
    that the base UNet also lacks stay missing: `load_into` reports them.
    """
    missing = missing_keys(module, state)
    if not missing:
        return state
    base = read_state(index, "base_unet")
    return State({**{key: base.entries[key] for key in missing if key in base}, **state.entries})
