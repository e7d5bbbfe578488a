"""A run's checkpoint: weights, EMA weights, optimiser state and step, in one safetensors file without pickle."""

from __future__ import annotations

import json
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import InputError, WeightsError
from ..media.files import save_tensors
from .presets import Preset

SETTINGS = tuple(field for field in fields(Preset) if field.default is not MISSING)
STATE_FILE = "state.safetensors"
_WEIGHT, _MEAN, _ADAM = "weight/", "mean/", "adam/"


@dataclass(frozen=True)
class RunProgress:
    """How far a run is, and its settings."""

    step: int  # steps done
    settings: str  # JSON of all that must be the same when the run is resumed
    scaler: str = ""  # JSON of the gradient scaler's state; float16 only
    seconds: float = 0.0  # of training so far


@torch.no_grad()
def save_run(folder: Path, learner: nn.Module, mean: dict[str, Tensor], adam: Optimizer, progress: RunProgress) -> None:
    """Writes the checkpoint atomically. Raises OutputError where it cannot be written, such as on a full disk."""
    tensors = {f"{_WEIGHT}{key}": value for key, value in learner.state_dict().items()}
    tensors |= {f"{_MEAN}{key}": value for key, value in mean.items()}
    for name, parameter in learner.named_parameters():
        for part, value in adam.state.get(parameter, {}).items():
            tensors[f"{_ADAM}{part}/{name}"] = value
    metadata = {"step": str(progress.step), "settings": progress.settings, "scaler": progress.scaler}
    metadata["seconds"] = str(progress.seconds)
    save_tensors(folder / STATE_FILE, tensors, metadata)


@torch.no_grad()
def load_run(folder: Path, learner: nn.Module, mean: dict[str, Tensor], adam: Optimizer, settings: str) -> RunProgress:
    """Restores a checkpoint bit for bit; without a file the run starts at step 0.

    Raises WeightsError for a damaged file, InputError where its settings or its networks' sizes differ.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        return RunProgress(0, settings)
    progress, tensors = read_progress(folder), _tensors(path)
    refuse_other(folder, progress.settings, settings)
    try:
        learner.load_state_dict({key.removeprefix(_WEIGHT): t for key, t in tensors.items() if key.startswith(_WEIGHT)})
        for key, value in mean.items():
            value.copy_(tensors[_MEAN + key])
    except (RuntimeError, KeyError) as error:
        raise InputError(f"{path} is of networks of another size: give another --output") from error
    parts = {key.split("/")[1] for key in tensors if key.startswith(_ADAM)}
    for name, parameter in learner.named_parameters():
        found = {part: tensors[f"{_ADAM}{part}/{name}"] for part in parts if f"{_ADAM}{part}/{name}" in tensors}
        if found:  # the step too: the fused kernel reads it on the parameter's device
            adam.state[parameter] = {part: value.to(parameter.device) for part, value in found.items()}
    return progress


def refuse_other(folder: Path, before: str, now: str) -> None:
    """Raises InputError unless the settings `before` of the run in `folder` are those of `now`."""
    if _known(before) != _known(now):
        raise InputError(
            f"{folder} holds a run with other settings ({_difference(before, now)}): "
            "give another --output, or the same settings again"
        )


def read_progress(folder: Path) -> RunProgress:
    """How far the run in `folder` is. Raises WeightsError for a missing or damaged checkpoint."""
    from safetensors import SafetensorError, safe_open

    path = folder / STATE_FILE
    try:
        with safe_open(path, framework="pt") as file:
            known = file.metadata() or {}
        seconds = float(known.get("seconds", 0.0))  # runs of older versions did not write it
        return RunProgress(int(known["step"]), known["settings"], known["scaler"], seconds)
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise _unreadable(path, error) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> WeightsError:
    return WeightsError(f"{path} cannot be read ({error}): delete it to begin the run anew")


def _known(settings: str) -> dict[str, Any]:
    """All settings; those that a run of an older version did not write yet have the value it ran with."""
    defaults = {field.name: field.default for field in SETTINGS}
    known: dict[str, Any] = json.loads(json.dumps(defaults)) | json.loads(settings)
    return known


def _difference(before: str, now: str) -> str:
    old, new = _known(before), _known(now)
    return (
        ", ".join(f"{key} was {old.get(key)}, is {new.get(key)}" for key in new if old.get(key) != new[key]) or "fewer"
    )
