"""LoRA in the loop: small additions to frozen networks that learn in their stead, kept and exported alone."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from torch import nn

from ..errors import InputError
from ..lora import Adapted, Lora, attach, extract, save_lora
from ..model import PersonaLive
from .files import make_folder
from .loop import Stage

FILE = "adapter_model.safetensors"  # peft's name for it
ADAPTABLE = ("reference_unet", "denoising_unet")  # what a picture's look comes from
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "proj_in", "proj_out", "conv1", "conv2")


def with_adapters(stage: Stage, model: PersonaLive, names: tuple[str, ...], rank: int, seed: int) -> Stage:
    """`stage` with additions of `rank` to those of `names` that can have them; changes `model`'s networks.

    Alpha is the rank: a strength of 1 adds what was learned. Nothing else of the model learns. Raises InputError where
    none of `names` can have them.
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
    """What learns in the `Adapted` layers of `network`, by path with / for the dots."""
    held = nn.ParameterDict()
    for path, layer in network.named_modules():
        if isinstance(layer, Adapted):
            held[f"{path}/A".replace(".", "/")] = layer.lora_A
            held[f"{path}/B".replace(".", "/")] = layer.lora_B
    return held


def export_lora(names: tuple[str, ...], alpha: float, model: PersonaLive, folder: Path) -> None:
    """Writes the additions of all `names` into `folder`, as one file in peft's format."""
    pairs = {name: extract(getattr(model, name)) for name in names}
    save_lora(make_folder(folder) / FILE, Lora(pairs, alpha))
