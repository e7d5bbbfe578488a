"""Runs the networks with ComfyUI's layers, attention, memory management and choice of number types."""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import comfy.ldm.modules.attention as comfy_attention
import comfy.lora
import comfy.model_management as mm
import comfy.model_patcher
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import CallbacksMP
from torch import Tensor, nn

from ...personalive_core.backends.hunyuan.model import HunyuanPortrait
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.personalive.lora import Lora, Pair, check_fit
from ...personalive_core.backends.personalive.model import PersonaLive
from ...personalive_core.backends.personalive.types import LATENT_PIXELS
from ...personalive_core.backends.placement import Placement
from ...personalive_core.device import PRECISIONS
from ...personalive_core.errors import InputError
from ...personalive_core.modules.kernels import fast_ops
from ...personalive_core.modules.unet import UNetConfig
from ...personalive_core.text import warn_once

SHARE = 0.8  # a batch of images may take this share of the free memory
WEIGHTS_SHARE = 0.6  # all networks together may take this share of a GPU's memory to be kept there in full
GIB = 1 << 30

FASTEST_FIRST = dict(reversed(PRECISIONS.items()))  # the order of the widget, and of ComfyUI's own choice
FP8 = "fp8"
ATTENTIONS = ("auto", "pytorch")
# Peak activation memory in units of one feature map: the UNet's first level, for the 16 frames of a step. Counted for
# the published widths at 512x512: a step needs 27 (29 with three keyframes), decoding its 4 finished frames needs 38.
ACTIVATIONS = 40

Networks = TypeVar("Networks", PersonaLive, LivePortrait, HunyuanPortrait)

_log = logging.getLogger(__name__)


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention over q, k, v [N, H, L, D], H heads, with the implementation that ComfyUI was started with."""
    return comfy_attention.optimized_attention(q, k, v, q.shape[1], skip_reshape=True, skip_output_reshape=True)


class PytorchOps(comfy.ops.manual_cast):
    """ComfyUI's layers. They cast weights to the input's device and type on use, so weights may be stored elsewhere."""

    class Linear(comfy.ops.manual_cast.Linear):
        """Loads its state dict with torch's own method, which needs an existing weight.

        ComfyUI after 0.3.64 may create the weight later.
        """

        def _load_from_state_dict(self, *args: Any) -> None:
            nn.Module._load_from_state_dict(self, *args)


class ComfyOps(PytorchOps):
    """The same layers, with ComfyUI's attention."""

    scaled_dot_product_attention = staticmethod(scaled_dot_product_attention)


def layers(attention: str, fused: bool = False) -> Any:
    """The namespace of layer classes for an option of the attention widget. Raises InputError for an unknown one.

    If `fused`, on an NVIDIA GPU it has the fused kernels too; why not, is logged once. They are used for layers whose
    weights lie on the GPU as they are; for the others ComfyUI's own layers run.
    """
    if attention not in ATTENTIONS:
        raise InputError(f"unknown attention {attention!r}: choose {' or '.join(ATTENTIONS)}")
    device, own = mm.get_torch_device(), ComfyOps if attention == "auto" else PytorchOps
    ops, reason = fast_ops(device, own) if fused else (own, "")
    if reason and device.type == "cuda":
        warn_once(_log, reason)
    return ops


def types(precision: str) -> tuple[torch.dtype, torch.dtype | None]:
    """The compute type, and the storage type of the UNets' matrices (None: the same).

    "auto" is the type that ComfyUI itself would choose for a UNet, so its flags (--fp16-unet, --bf16-unet, ...) count.
    Raises InputError for an unknown precision.
    """
    if precision in FASTEST_FIRST:
        return FASTEST_FIRST[precision], None
    if precision not in ("auto", FP8):
        raise InputError(f"unknown precision {precision!r}: choose auto, {', '.join(FASTEST_FIRST)} or {FP8}")
    wanted = mm.unet_dtype(device=mm.get_torch_device(), supported_dtypes=list(FASTEST_FIRST.values()))
    dtype = wanted if wanted in FASTEST_FIRST.values() else torch.float16  # the flags may ask for fp8 storage
    return dtype, torch.float8_e4m3fn if precision == FP8 or wanted != dtype else None


class Held(nn.Module):
    """Wraps a network that a ModelPatcher cannot take: one whose class has a `device` property, which it assigns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


@dataclass(frozen=True, eq=False)
class Patchers:
    """One ModelPatcher for each network.

    ComfyUI holds only weak references to the patchers; this object holds the strong ones and keeps them in memory.
    """

    of: Mapping[int, ModelPatcher]  # key: id() of the network
    whole: int | None  # key of the image encoder: its layers are not ComfyUI's, so it must be loaded in full

    def __call__(self, networks: tuple[Any, ...], extra: int = 0) -> None:
        """Loads `networks` onto the compute device and keeps `extra` bytes free.

        Skips networks without a patcher here: ComfyUI loads its own VAE and CLIP_VISION itself.
        """
        ours = [id(network) for network in networks if id(network) in self.of]
        for group in ([key for key in ours if key == self.whole], [key for key in ours if key != self.whole]):
            if group:
                patchers = [self.of[key] for key in group]
                mm.load_models_gpu(patchers, memory_required=extra, force_full_load=group[0] == self.whole)

    def token(self, networks: tuple[Any, ...]) -> Hashable | None:
        """As `Placement.token`: ComfyUI's ids of the networks' weights, or None."""
        ids = tuple(weights_id(self.of.get(id(network))) for network in networks)
        return None if None in ids else ids


def weights_id(patcher: ModelPatcher | None) -> Hashable | None:
    """ComfyUI's id of the weights that a network has now: another for each LoRA.

    None unless all of them lie on the compute device as they are used, and for a network without a patcher.
    """
    if patcher is None or getattr(patcher, "is_dynamic", bool)() or patcher.weight_wrapper_patches:
        return None
    network = patcher.model
    if network.model_lowvram or network.device != patcher.load_device:
        return None
    current: Hashable | None = network.current_weight_patches_uuid  # None: not loaded
    return current


class ResidentPatcher(ModelPatcher):
    """Loads whole networks where there is room, and says so before it takes a part of one off the device.

    ComfyUI has callbacks for `detach`, but none for this: those for `detach` are called, as if all were unloaded.
    """

    def partially_unload(self, *args: Any, **named: Any) -> Any:
        for callback in self.get_all_callbacks(CallbacksMP.ON_DETACH):
            callback(self, True)
        return super().partially_unload(*args, **named)


def place(
    networks: Mapping[str, nn.Module], dtype: torch.dtype, resident: bool = False, bare: Collection[str] = ()
) -> Placement:
    """Puts the networks, given by name, under ComfyUI's memory management; `dtype` is the compute type.

    Those named in `bare` are one layer by themselves, which ModelPatcher looks for in a parent.

    With dynamic VRAM, in newer ComfyUI, that copies the weights of ComfyUI's layers to the device as they are used,
    and everything else in full; with `resident` not, where the device has room for all weights.
    """
    device, offload = mm.get_torch_device(), mm.unet_offload_device()
    kind = getattr(comfy.model_patcher, "CoreModelPatcher", ModelPatcher)  # ComfyUI chooses it when it starts
    if resident and weight_bytes(networks) <= WEIGHTS_SHARE * mm.get_total_memory(device):
        kind = ResidentPatcher
    held = {id(network): network for network in networks.values()}
    for key, network in held.items():
        is_bare = key in {id(networks[name]) for name in bare}
        held[key] = Held(network) if is_bare or hasattr(type(network), "device") else network
    patchers = {key: kind(network, device, offload) for key, network in held.items()}
    whole = id(networks["image_encoder"]) if "image_encoder" in networks else None
    bring = Patchers(patchers, whole)
    return Placement(device, dtype, bring, bring.token)


def weight_bytes(networks: Mapping[str, nn.Module]) -> int:
    """Bytes of all weights of the networks."""
    return sum(weight.nbytes for network in networks.values() for weight in network.parameters())


def patchers_of(model: PersonaLive | LivePortrait | HunyuanPortrait) -> tuple[ModelPatcher, ...]:
    """The patchers of a model's networks; none where they are not under ComfyUI's memory management."""
    bring = model.placement.bring if model.placement else None
    return tuple(bring.of.values()) if isinstance(bring, Patchers) else ()


def with_lora_patches(model: PersonaLive, lora: Lora, strength: float) -> PersonaLive:
    """A model of the same networks, to whose weights ComfyUI adds `lora` times `strength`.

    ComfyUI adds it when it loads the networks for the returned model, and removes it when it loads them for `model`.
    Raises WeightsError if the LoRA does not fit the networks.
    """
    check_fit(lora, model)
    if strength == 0:
        return model
    patchers = dict(model.placement.bring.of)
    for name, pairs in lora.pairs.items():
        key = id(getattr(model, name))
        patchers[key] = patchers[key].clone()
        patchers[key].add_patches(patches(pairs, lora.alpha), strength)
    bring = replace(model.placement.bring, of=patchers)
    return replace(model, placement=replace(model.placement, bring=bring, token=bring.token))


def patches(pairs: Mapping[str, Pair], alpha: float) -> dict[str, Any]:
    """ComfyUI's patches by weight key, made from one network's LoRA pairs as from any LoRA file."""
    named = {f"{path}.alpha": torch.tensor(alpha) for path in pairs}
    for path, pair in pairs.items():
        named |= {f"{path}.lora_{half}.weight": tensor for half, tensor in zip("AB", pair, strict=True)}
    return comfy.lora.load_lora(named, {path: f"{path}.weight" for path in pairs})


def activation_bytes(size: int, frames: int, dtype: torch.dtype) -> int:
    """Estimated bytes of activations in a step over `frames` pictures of `size` pixels a side, without the weights."""
    return ACTIVATIONS * frames * (size // LATENT_PIXELS) ** 2 * UNetConfig().widths[0] * dtype.itemsize


def with_room(model: Networks, extra: int) -> Networks:
    """`model`, changed to keep `extra` bytes free whenever it loads a network onto the device."""
    if not model.placement or not isinstance(model.placement.bring, Patchers):
        return model
    return replace(model, placement=replace(model.placement, bring=partial(model.placement.bring, extra=extra)))


def settled(model: PersonaLive, extra: int, reading: bool = False) -> PersonaLive:
    """`model` with the networks of a stream loaded once, `extra` bytes kept free; the stream loads nothing more.

    `reading`: those that read driving pictures are loaded too, as the stream of a live session uses them in every step.
    If every step asked ComfyUI to load, networks that do not fit together would push each other out, twice a step.
    Weights that are not on the device are copied there layer by layer instead. A VAE of ComfyUI's own asks ComfyUI in
    every step; then our networks must ask too.
    """
    if not model.placement or not isinstance(model.placement.bring, Patchers):
        return model
    patchers, decoder = model.placement.bring, model.vae if model.tiny_vae is None else model.tiny_vae
    if id(decoder) not in patchers.of:
        return with_room(model, extra)
    readers = (model.motion_extractor, model.motion_encoder) if reading else ()
    patchers((model.denoising_unet, model.pose_guider, decoder, *readers), extra)
    return replace(model, placement=replace(model.placement, bring=partial(stay, patchers)))


def places(model: PersonaLive) -> tuple[Hashable, ...]:
    """Where ComfyUI has each network of `model`, how much of it and with which LoRA: it changes when one is moved."""
    networks = [patcher.model for patcher in patchers_of(model)]
    return tuple((str(n.device), n.model_loaded_weight_memory, n.current_weight_patches_uuid) for n in networks)


def stay(_patchers: Patchers, _networks: tuple[Any, ...]) -> None:
    """Loads nothing: all is loaded. As an argument of the `partial`, the patchers live as long as the model does."""


def check_interrupt() -> None:
    """Raises ComfyUI's InterruptProcessingException if the user pressed Cancel."""
    mm.throw_exception_if_processing_interrupted()


def free_ram() -> int:
    """Free main memory (RAM) in bytes."""
    return int(mm.get_free_memory(torch.device("cpu")))


def check_fits(frames: int, size: tuple[int, int], free: int, instead: str) -> None:
    """Raises InputError if `frames` float32 images of `size` (width, height) need more than `SHARE` of `free` bytes.

    The message suggests `instead`.
    """
    needed = frames * size[0] * size[1] * 3 * 4
    if needed > SHARE * free:
        raise InputError(
            f"{frames} frames of {size[0]}x{size[1]} as images take {needed / GIB:.1f} GiB, {free / GIB:.1f} are free: "
            f"use {instead}, or take fewer frames"
        )
