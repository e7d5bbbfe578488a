"""The networks in ComfyUI's hands: its layers, its attention, its memory management, its choice of types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import comfy.ldm.modules.attention as comfy_attention
import comfy.lora
import comfy.model_management as mm
import comfy.ops
import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor, nn

from ...personalive_core.backends.personalive.lora import Lora, Pair, check_fit
from ...personalive_core.backends.personalive.model import PersonaLive, Placement
from ...personalive_core.backends.personalive.types import LATENT_PIXELS
from ...personalive_core.device import PRECISIONS
from ...personalive_core.errors import InputError
from ...personalive_core.modules.unet import UNetConfig

SHARE = 0.8  # of the free memory that a batch may take
GIB = 1 << 30

FP8 = "fp8"
ATTENTIONS = ("auto", "pytorch")
# Most tensors alive at once, in feature maps of the UNet's first level for the 16 frames of a step: counted for the
# published widths at 512x512, a step has 27 (29 with three keyframes), decoding its 4 finished frames 38.
ACTIVATIONS = 40


def scaled_dot_product_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """[N, H, L, D] through the attention that the user chose when starting ComfyUI."""
    return comfy_attention.optimized_attention(q, k, v, q.shape[1], skip_reshape=True, skip_output_reshape=True)


class PytorchOps(comfy.ops.manual_cast):
    """ComfyUI's layers: their weights follow the input's device and type, so that they may stay elsewhere."""

    class Linear(comfy.ops.manual_cast.Linear):
        """Loaded by torch's own rules, for which its weight has to be there: ComfyUI after 0.3.64 may make it later."""

        def _load_from_state_dict(self, *args: Any) -> None:
            nn.Module._load_from_state_dict(self, *args)


class ComfyOps(PytorchOps):
    """The same, with ComfyUI's attention."""

    scaled_dot_product_attention = staticmethod(scaled_dot_product_attention)


def layers(attention: str) -> type[PytorchOps]:
    """The namespace of layers for a choice of attention. Raises InputError for an unknown one."""
    if attention not in ATTENTIONS:
        raise InputError(f"unknown attention {attention!r}: choose {' or '.join(ATTENTIONS)}")
    return ComfyOps if attention == "auto" else PytorchOps


def types(precision: str) -> tuple[torch.dtype, torch.dtype | None]:
    """The type to compute in, and the one to store matrices in where it differs.

    "auto" is what ComfyUI itself would take for a UNet: its flags (--fp16-unet, --bf16-unet, ...) count.
    """
    if precision in PRECISIONS:
        return PRECISIONS[precision], None
    if precision not in ("auto", FP8):
        raise InputError(f"unknown precision {precision!r}: choose auto, {', '.join(PRECISIONS)} or {FP8}")
    wanted = mm.unet_dtype(device=mm.get_torch_device(), supported_dtypes=list(PRECISIONS.values()))
    dtype = wanted if wanted in PRECISIONS.values() else torch.float16  # the flags may ask for fp8 storage
    return dtype, torch.float8_e4m3fn if precision == FP8 or wanted != dtype else None


class Held(nn.Module):
    """A library's network as a part of what is patched: ModelPatcher sets `device`, which is a property there."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network


@dataclass(frozen=True, eq=False)
class Patchers:
    """Each network in a ModelPatcher of its own. ComfyUI holds them weakly: this keeps them alive, and nothing else."""

    of: Mapping[int, ModelPatcher]  # by the network's id
    whole: int | None  # the image encoder's: its layers are not ComfyUI's, so that it is never loaded in part

    def __call__(self, networks: tuple[Any, ...], extra: int = 0) -> None:
        """Loads `networks` where they compute, and keeps `extra` bytes free; those not ours look after themselves."""
        ours = [id(network) for network in networks if id(network) in self.of]
        for group in ([key for key in ours if key == self.whole], [key for key in ours if key != self.whole]):
            if group:
                patchers = [self.of[key] for key in group]
                mm.load_models_gpu(patchers, memory_required=extra, force_full_load=group[0] == self.whole)


def place(networks: Mapping[str, nn.Module], dtype: torch.dtype) -> Placement:
    """Hands the networks, by name, over to ComfyUI."""
    device, offload = mm.get_torch_device(), mm.unet_offload_device()
    held = {id(network): network for network in networks.values()}
    for key, network in held.items():
        held[key] = Held(network) if hasattr(type(network), "device") else network
    patchers = {key: ModelPatcher(network, device, offload) for key, network in held.items()}
    whole = id(networks["image_encoder"]) if "image_encoder" in networks else None
    return Placement(device, dtype, Patchers(patchers, whole))


def with_lora_patches(model: PersonaLive, lora: Lora, strength: float) -> PersonaLive:
    """The same networks; ComfyUI adds `lora` to their weights when it loads them for this model, and takes it out again
    for the given one. Raises WeightsError where it does not fit them."""
    check_fit(lora, model)
    if strength == 0:
        return model
    patchers = dict(model.placement.bring.of)
    for name, pairs in lora.pairs.items():
        key = id(getattr(model, name))
        patchers[key] = patchers[key].clone()
        patchers[key].add_patches(patches(pairs, lora.alpha), strength)
    bring = replace(model.placement.bring, of=patchers)
    return replace(model, placement=replace(model.placement, bring=bring))


def patches(pairs: Mapping[str, Pair], alpha: float) -> dict[str, Any]:
    """What is added to each weight, by its key, as ComfyUI makes it of any LoRA file."""
    named = {f"{path}.alpha": torch.tensor(alpha) for path in pairs}
    for path, pair in pairs.items():
        named |= {f"{path}.lora_{half}.weight": tensor for half, tensor in zip("AB", pair, strict=True)}
    return comfy.lora.load_lora(named, {path: f"{path}.weight" for path in pairs})


def activation_bytes(size: int, frames: int, dtype: torch.dtype) -> int:
    """About how much memory a step over `frames` pictures of `size` pixels a side takes beside the weights."""
    return ACTIVATIONS * frames * (size // LATENT_PIXELS) ** 2 * UNetConfig().widths[0] * dtype.itemsize


def with_room(model: PersonaLive, extra: int) -> PersonaLive:
    """`model`, which keeps `extra` bytes free whenever it brings a network into place."""
    if not model.placement or not isinstance(model.placement.bring, Patchers):
        return model
    return replace(model, placement=replace(model.placement, bring=partial(model.placement.bring, extra=extra)))


def settled(model: PersonaLive, extra: int) -> PersonaLive:
    """`model` with what a stream needs in place, `extra` bytes free, and left alone until the stream ends.

    Asking ComfyUI again in every step would make networks that do not fit together push each other out, twice a step;
    what is not in place is read layer by layer instead. A VAE of ComfyUI's own does ask, so then ours has to, too.
    """
    if not model.placement or not isinstance(model.placement.bring, Patchers):
        return model
    patchers, decoder = model.placement.bring, model.vae if model.tiny_vae is None else model.tiny_vae
    if id(decoder) not in patchers.of:
        return with_room(model, extra)
    patchers((model.denoising_unet, model.pose_guider, decoder), extra)
    return replace(model, placement=replace(model.placement, bring=partial(stay, patchers)))


def stay(_patchers: Patchers, _networks: tuple[Any, ...]) -> None:
    """All that runs is in place; held here, the patchers live as long as the networks do."""


def check_interrupt() -> None:
    """Raises ComfyUI's own exception if the user pressed Cancel."""
    mm.throw_exception_if_processing_interrupted()


def free_ram() -> int:
    """Bytes of the computer's memory that are free."""
    return int(mm.get_free_memory(torch.device("cpu")))


def check_fits(frames: int, size: tuple[int, int], free: int, instead: str) -> None:
    """Raises InputError where `frames` images of (width, height) as float32 need more than `SHARE` of `free` bytes."""
    needed = frames * size[0] * size[1] * 3 * 4
    if needed > SHARE * free:
        raise InputError(
            f"{frames} frames of {size[0]}x{size[1]} as images take {needed / GIB:.1f} GiB, {free / GIB:.1f} are free: "
            f"use {instead}, or take fewer frames"
        )
