"""LoRA files (low-rank additions to weights) in peft's format: read, written, and added to the networks.

A file adapts one or several networks. Its keys are `base_model.model.<network>.<module path>.lora_A.weight` [r, in]
and `.lora_B.weight` [out, r]; for a convolution [r, in, k, k] and [out, r, 1, 1]. `lora_alpha` is in the safetensors
metadata, where every value is JSON, or in peft's `adapter_config.json` in the same folder.
"""

from __future__ import annotations

import copy
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...errors import WeightsError
from ...media.files import save_tensors
from ...weights.read import State, read_infos, read_metadata
from .model import PersonaLive

LORA_NETWORKS = ("denoising_unet", "reference_unet", "pose_guider")
ADAPTER_FILE, CONFIG_FILE, SUFFIX = "adapter_model.safetensors", "adapter_config.json", ".safetensors"
_PREFIX = "base_model.model."
_KEY = re.compile(rf"{re.escape(_PREFIX)}({'|'.join(LORA_NETWORKS)})\.(.+)\.lora_([AB])\.weight")
_OTHER_SCALES = ("use_rslora", "alpha_pattern")  # peft options that change the scale from alpha / r

Pair = tuple[Tensor, Tensor]  # lora_A [r, in, ...], lora_B [out, r, ...]


@dataclass(frozen=True, eq=False)
class Lora:
    """Low-rank pairs: a module's weight gets + alpha / r * lora_B lora_A, where r is the rank of that module's pair."""

    pairs: Mapping[str, Mapping[str, Pair]]  # by network and module path
    alpha: float
    name: str = "LoRA"  # for error messages


def read_lora(path: Path) -> Lora:
    """Reads a LoRA from a .safetensors file or a folder that peft wrote. Raises WeightsError for any other file."""
    file = path / ADAPTER_FILE if path.is_dir() else path
    if not file.is_file() or file.suffix != SUFFIX:
        raise WeightsError(f"{file} is no LoRA file: name a {SUFFIX} file, or a folder that holds {ADAPTER_FILE}")
    infos = read_infos(file)
    if not infos:
        raise WeightsError(f"the LoRA {file} is empty: train or download it again")
    halves: dict[str, dict[str, dict[str, Tensor]]] = {}
    for key, tensor in State(infos).stream(infos):
        found = _KEY.fullmatch(key)
        if found is None:
            raise WeightsError(
                f"{file} is no LoRA for PersonaLive, whose keys are {_PREFIX}NETWORK.LAYER.lora_A.weight and "
                f"lora_B.weight with NETWORK {' or '.join(LORA_NETWORKS)}, but {key} came: choose one trained for it"
            )
        network, module, half = found.groups()
        halves.setdefault(network, {}).setdefault(module, {})[half] = tensor.clone()
    pairs = {
        network: {module: _pair(file, f"{network}.{module}", both) for module, both in modules.items()}
        for network, modules in halves.items()
    }
    return Lora(pairs, _alpha(file), path.stem)


def save_lora(path: Path, lora: Lora) -> None:
    """Writes `lora` as one file for `read_lora`; peft reads it too, if an adapter_config.json is in the same folder."""
    tensors = {
        f"{_PREFIX}{network}.{module}.lora_{half}.weight": tensor
        for network, modules in lora.pairs.items()
        for module, pair in modules.items()
        for half, tensor in zip("AB", pair, strict=True)
    }
    config = {
        "peft_type": "LORA",
        "r": max(len(a) for modules in lora.pairs.values() for a, _ in modules.values()),
        "lora_alpha": lora.alpha,
        "target_modules": [f"{network}.{module}" for network, modules in lora.pairs.items() for module in modules],
    }
    save_tensors(path, tensors, {"format": "pt", **{key: json.dumps(value) for key, value in config.items()}})


def with_lora(model: PersonaLive, lora: Lora, strength: float) -> PersonaLive:
    """A model with the adapted weights W + strength * alpha / r * lora_B lora_A; it shares all others with `model`.

    The sum is computed in float32 and rounded to the dtype in which the weights are stored (fp8 too). `model` does not
    change, and several LoRAs can be added one after another. The new weights are on the device of the old ones, but
    unknown to a host program that moves networks between devices: if the model has a `placement`, let the host add the
    LoRA. Raises WeightsError if the LoRA does not fit the networks.
    """
    check_fit(lora, model)
    if strength == 0:
        return model
    networks: dict[str, Any] = {
        name: _added(getattr(model, name), modules, strength * lora.alpha) for name, modules in lora.pairs.items()
    }
    return replace(model, **networks)


def check_fit(lora: Lora, model: PersonaLive) -> None:
    """Raises WeightsError that names the first module which the networks lack or whose weight has another shape."""
    faults = [fault for name, modules in lora.pairs.items() for fault in _faults(name, getattr(model, name), modules)]
    if faults:
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        raise WeightsError(
            f"the LoRA {lora.name} does not fit these networks, {faults[0]}{more}: choose one that was trained for "
            "weights of this size"
        )


def _pair(file: Path, name: str, halves: Mapping[str, Tensor]) -> Pair:
    missing = {"A", "B"} - halves.keys()
    if missing:
        raise WeightsError(f"the LoRA {file} lacks lora_{missing.pop()} of {name}: train or download it again")
    a, b = halves["A"], halves["B"]
    if min(a.dim(), b.dim()) < 2 or not 0 < len(a) == b.shape[1]:  # noqa: PLR2004 - what a matrix has
        raise WeightsError(
            f"the LoRA {file} has lora_A {list(a.shape)} and lora_B {list(b.shape)} for {name}, expected [r, in, ...] "
            "and [out, r, ...]: train or download it again"
        )
    return a, b


def _alpha(file: Path) -> float:
    """`lora_alpha`. Raises WeightsError without it: guessing it would change the strength that was trained."""
    config, source = _config(file)
    other = [name for name in _OTHER_SCALES if config.get(name)]
    if other:
        raise WeightsError(f"{source} sets {' and '.join(other)}, which is not supported: train it without")
    alpha = config.get("lora_alpha")
    if not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
        raise WeightsError(
            f"the LoRA {file} does not say its lora_alpha: put peft's {CONFIG_FILE} beside it, or save it with "
            "lora_alpha in the metadata"
        )
    return float(alpha)


def _config(file: Path) -> tuple[Mapping[str, Any], Path]:
    """The settings from the metadata, else from adapter_config.json in the same folder, and the path they come from."""
    metadata, beside = read_metadata(file), file.with_name(CONFIG_FILE)
    try:
        if "lora_alpha" in metadata:
            known = {*_OTHER_SCALES, "lora_alpha"}
            return {key: json.loads(value) for key, value in metadata.items() if key in known}, file
        return dict(json.loads(beside.read_text(encoding="utf-8"))) if beside.is_file() else {}, beside
    except (ValueError, TypeError) as error:
        raise WeightsError(f"the settings of the LoRA {file} are not readable JSON: save it again") from error


def _faults(network: str, module: nn.Module, pairs: Mapping[str, Pair]) -> Iterator[str]:
    shapes = {key: tuple(value.shape) for key, value in module.named_parameters()}
    for path, (a, b) in pairs.items():
        out, *inner = shapes.get(f"{path}.weight", (0,))
        if not inner:
            yield f"{network} has no layer {path} with a matrix"
        elif a.shape[1:] != tuple(inner) or b.shape != (out, len(a), *(1 for _ in inner[1:])):
            yield f"{network}.{path} has a weight of {[out, *inner]}, lora_A {list(a.shape)}, lora_B {list(b.shape)}"


@torch.no_grad()
def _added(network: nn.Module, pairs: Mapping[str, Pair], factor: float) -> nn.Module:
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    copied = copy.deepcopy(network, shared)  # the memo of deepcopy: tensors listed in it are not copied

    def added(weight: Tensor, a: Tensor, b: Tensor) -> Tensor:
        a, b = (half.to(weight.device, torch.float32).flatten(1) for half in (a, b))
        changed = weight.float() + factor / len(a) * (b @ a).view(weight.shape)
        return torch.empty_like(weight).copy_(changed)  # keeps the old weight's dtype and memory format

    weights = {f"{path}.weight": added(network.get_parameter(f"{path}.weight"), *pair) for path, pair in pairs.items()}
    copied.load_state_dict(weights, strict=False, assign=True)
    return copied
