"""LoRA training: the networks are frozen; only the adapters are trained, saved and exported."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backends.personalive.lora import Lora, Pair, save_lora
from ..backends.personalive.model import PersonaLive
from ..errors import InputError
from .files import make_folder
from .loop import Stage

_SLOPE = math.sqrt(5)  # slope of lora_A's Kaiming-uniform initialisation, as in peft and in torch's own layers

FILE = "adapter_model.safetensors"  # peft's file name
ADAPTABLE = ("reference_unet", "denoising_unet")  # the networks that determine a picture's appearance
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "proj_in", "proj_out", "conv1", "conv2")


def with_adapters(stage: Stage, model: PersonaLive, names: tuple[str, ...], rank: int, seed: int) -> Stage:
    """Attaches LoRA adapters of `rank` to the networks in `names` that support them; returns the changed stage.

    Changes `model`'s networks in place. Alpha equals the rank: a strength of 1 adds the update as trained. No other
    parameter of the model is trained. Raises InputError where none of `names` supports LoRA, or for a rank below 1.
    """
    adapted = [name for name in names if name in ADAPTABLE]
    if not adapted:
        raise InputError(f"this stage trains {', '.join(names)}, which have no LoRA: use stage 1, 2 or 3")
    for number, name in enumerate(adapted):
        attach(getattr(model, name), TARGETS, rank, float(rank), seed + number)
    held = {name: parameters_of(getattr(model, name)) for name in adapted}
    extra = nn.ModuleDict({**stage.extra, **held})
    return replace(stage, extra=extra, export=partial(export_lora, tuple(adapted), float(rank)))


def parameters_of(network: nn.Module) -> nn.ParameterDict:
    """The LoRA parameters of the `Adapted` layers of `network`, by module path; / replaces dots, which keys forbid."""
    held = nn.ParameterDict()
    for path, layer in network.named_modules():
        if isinstance(layer, Adapted):
            held[f"{path}/A".replace(".", "/")] = layer.lora_A
            held[f"{path}/B".replace(".", "/")] = layer.lora_B
    return held


def export_lora(names: tuple[str, ...], alpha: float, model: PersonaLive, folder: Path) -> None:
    """Writes the LoRA of all networks in `names` into `folder`, as one file in peft's format. Raises OutputError."""
    pairs = {name: trained_pairs(getattr(model, name)) for name in names}
    save_lora(make_folder(folder) / FILE, Lora(pairs, alpha))


class Adapted(nn.Module):
    """A frozen layer with a trainable LoRA: base(x) + alpha / r * lora_B lora_A x."""

    def __init__(self, base: nn.Linear | nn.Conv2d, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        out, *inner = base.weight.shape
        a = nn.init.kaiming_uniform_(torch.empty(rank, *inner, device="cpu"), _SLOPE, generator=generator)
        b = torch.zeros(out, rank, *(1 for _ in inner[1:]))  # zeros: training starts from the unchanged network
        device = base.weight.device
        self.base, self.scale = base, alpha / rank
        self.lora_A, self.lora_B = nn.Parameter(a.to(device)), nn.Parameter(b.to(device))

    @property
    def weight(self) -> Tensor:
        """The frozen layer's weight; networks read its device and dtype."""
        return self.base.weight

    def forward(self, x: Tensor) -> Tensor:
        """Same shapes as the frozen layer; the LoRA computes in its own dtype, float32, unless autocast changes it."""
        own, narrow = cast("Tensor", self.base(x)), x.to(self.lora_A.dtype)
        if isinstance(self.base, nn.Conv2d):
            base = self.base
            narrow = functional.conv2d(narrow, self.lora_A, None, base.stride, base.padding, base.dilation)
            more = functional.conv2d(narrow, self.lora_B)
        else:
            more = functional.linear(functional.linear(narrow, self.lora_A), self.lora_B)
        return own + (self.scale * more).to(own.dtype)


def attach(network: nn.Module, targets: tuple[str, ...], rank: int, alpha: float, seed: int) -> nn.Module:
    """Freezes `network`, wraps the linear layers and convolutions in `targets` with `Adapted`, and returns it.

    A target is a layer's dotted name or the end of it, in whole parts: "to_q", "attn1.to_out.0". Raises InputError for
    a rank below 1, and for a target that matches no layer.
    """
    if rank < 1:
        raise InputError(f"a LoRA has a rank of 1 or more, not {rank}: choose 8, for example")
    layers = {name: layer for name, layer in network.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}
    for target in targets:
        if not any(_ends(name, target) for name in layers):
            raise InputError(f"no layer of the network is named {target}: name linear layers or convolutions")
    network.requires_grad_(False)
    generator = torch.Generator("cpu").manual_seed(seed)
    for name, layer in layers.items():
        if any(_ends(name, target) for target in targets):
            owner, _, leaf = name.rpartition(".")
            network.get_submodule(owner).add_module(leaf, Adapted(layer, rank, alpha, generator))
    return network


def trained_pairs(network: nn.Module) -> dict[str, Pair]:
    """CPU copies of the trained lora_A and lora_B of each `Adapted` module of `network`, by module path."""
    return {
        name: (module.lora_A.detach().to("cpu", copy=True), module.lora_B.detach().to("cpu", copy=True))
        for name, module in network.named_modules()
        if isinstance(module, Adapted)
    }


def _ends(name: str, target: str) -> bool:
    return f".{name}".endswith(f".{target}")
