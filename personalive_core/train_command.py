"""`personalive train` and `personalive train prepare`: their arguments, and the parts of a run put together."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from .commands import Result
from .errors import InputError

PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # as `accelerate` calls them


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`personalive train [prepare]`."""
    from .training.presets import STAGES

    actions = parser.add_subparsers(dest="action", metavar="prepare")
    _prepare(actions.add_parser("prepare", help="cache clips for training: real ones, or drawn people"))
    parser.add_argument("--stage", choices=STAGES, help="1, 2, 3 of the paper, or a network that it takes ready-made")
    parser.add_argument("--preset", default="small", help="published or small (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="folder that `train prepare` wrote")
    parser.add_argument("--output", type=Path, help="folder of the run; an unfinished one there is gone on with")
    parser.add_argument("--start", type=Path, metavar="DIR", help="weights folder to train on from (default: fresh)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--precision", choices=[*PRECISIONS], default="fp32", help="(default: %(default)s)")
    for name, kind in (("steps", int), ("clips", int), ("accumulation", int), ("rate", float)):
        parser.add_argument(f"--{name}", type=kind, help="instead of the preset's")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="folder for the clips")
    parser.add_argument("--drawn", type=int, default=0, metavar="N", help="draw N people instead of reading videos")
    parser.add_argument("--split", choices=["train", "test"], default="train", help="whose people and motions")
    parser.add_argument("--style", choices=["photo", "line"], default="photo", help="how drawn people are drawn")
    parser.add_argument("--frames", type=int, default=16, help="of each clip (default: %(default)s)")
    parser.add_argument("--stride", type=int, default=1, help="frames from one to the next (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="pixels a side (default: %(default)s)")


def train(a: argparse.Namespace) -> Result:
    """`personalive train`."""
    if a.action == "prepare":
        return _prepared(a)
    for name in ("stage", "data", "output"):
        if getattr(a, name) is None:
            raise InputError(f"the argument --{name} is missing: `personalive train --help` says what it is")
    from .training.loop import Run, train as run_training  # noqa: I001 - one name is the command's own
    from .training.networks import networks_of
    from .training.presets import preset

    changed = {name: getattr(a, name) for name in ("steps", "clips", "accumulation", "rate") if getattr(a, name)}
    row = replace(preset(a.preset, a.stage), **changed)
    source, stage = assemble(a.preset, a.stage, row, a.data, a.start, a.seed)
    run = Run(a.output, a.stage, row, a.seed, PRECISIONS[a.precision], quiet=a.quiet)
    weights = run_training(run, stage, source, networks_of(source.model, row.trains))
    return Result(f"{weights}: the weights of stage {a.stage} after {row.steps} steps", {"weights": str(weights)})


def assemble(name: str, stage: str, row: Any, data: Path, start: Path | None, seed: int) -> tuple[Any, Any]:
    """The source and the stage of a run."""
    from .training.data import open_dataset
    from .training.networks import SHAPES, fresh, trainable
    from .training.recipe import frames_needed, stage_of
    from .training.source import Source

    if start is None and name not in SHAPES:
        raise InputError(f"preset {name} starts from weights: name their folder with --start")
    model = trainable(start, torch.device("cpu")) if start else fresh(SHAPES[name], seed)
    source = Source(open_dataset(data, frames_needed(stage, row)), model)
    return source, stage_of(stage, row, model, seed)


def _prepared(a: argparse.Namespace) -> Result:
    from .training.prepare import prepare_drawn

    prepare_drawn(a.output, a.split, range(a.drawn), a.frames, a.size, a.stride, a.style)
    return Result(f"{a.output}: {a.drawn} drawn clips of {a.frames} frames")
