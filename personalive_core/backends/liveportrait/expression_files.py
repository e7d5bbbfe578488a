"""Expression files: safetensors with a schema; loading gives back the saved bits."""

from __future__ import annotations

from pathlib import Path

import torch

from ...errors import InputError
from ...media.files import load_tensors, save_tensors
from ...modules.keypoints import KEYPOINTS
from .expressions import Expression

EXPRESSION_SCHEMA = "liveportrait-expression-1"
_SHAPES = {"delta": (KEYPOINTS, 3), "turn": (3,), "scale": (1,), "translation": (3,)}


def save_expression(path: Path, expression: Expression) -> None:
    """Writes an expression, half a kilobyte. Raises OutputError, and InputError for numbers that are not finite."""
    tensors = {
        "delta": expression.delta.float(),
        "turn": expression.turn.float(),
        "scale": torch.tensor([expression.scale], dtype=torch.float64),
        "translation": torch.tensor(expression.translation, dtype=torch.float64),
    }
    _check(tensors, f"the expression for {path.name}")
    save_tensors(path, tensors, {"schema": EXPRESSION_SCHEMA})


def load_expression(path: Path) -> Expression:
    """Reads an expression file. Raises InputError for any other file, wrong shapes, and numbers that are not finite."""
    tensors, _ = load_tensors(path, EXPRESSION_SCHEMA)
    _check(tensors, path.name)
    x, y, z = tensors["translation"].tolist()
    return Expression(tensors["delta"].float(), tensors["turn"].float(), float(tensors["scale"][0]), (x, y, z))


def _check(tensors: dict[str, torch.Tensor], whose: str) -> None:
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if found != _SHAPES:
        raise InputError(f"{whose} has tensors {found}, expected {_SHAPES}: save it again with Save Expression")
    bad = [name for name, tensor in tensors.items() if not tensor.is_floating_point() or not tensor.isfinite().all()]
    if bad:
        raise InputError(f"{whose} has numbers in {', '.join(bad)} that are not finite: make the expression again")
