"""The command `personalive evaluate`: evaluates a model and writes a page, figures and pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import torch

from ..animation.engine import Engine
from ..backends.personalive.files import SHIPPED
from ..backends.personalive.lora import read_lora
from ..device import pick_device
from ..drawn.landmarker import load_landmarker
from ..errors import InputError
from ..evaluation.ablations import TRAINED
from ..evaluation.evaluate import Options, Subject, evaluate
from ..evaluation.pictures import psnr_plot, sheet
from ..evaluation.report import page, values
from ..media.files import whole_file
from ..media.picture import write_image
from .options import add_device, add_reporting
from .readers import whole
from .result import Result

PAGE = "evaluation"

_T = TypeVar("_T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive evaluate`."""
    parser.add_argument("--preset", choices=[*SHIPPED], default="small", help="(default: %(default)s)")
    parser.add_argument("--weights", type=Path, metavar="DIR", help="weights folder (default: the preset's)")
    parser.add_argument(
        "--ablation", action="append", default=[], metavar="NAME=DIR", help="weights of a trained ablation; repeat it"
    )
    parser.add_argument("--lora", type=Path, metavar="FILE", help="a LoRA for line-art, measured on line-art portraits")
    parser.add_argument("--output", type=Path, default=Path("docs"), metavar="DIR", help="(default: %(default)s)")
    add_device(parser)
    default = Options()
    for name, least, text in (
        ("people", 1, "of each task"),
        ("frames", 3, "of each clip"),
        ("long", 12, "frames of the long stream"),
        ("ablation-frames", 3, "of each clip of the ablations"),
    ):
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=whole(least), default=value, help=f"{text} (default: %(default)s)")
    add_reporting(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive evaluate`."""
    # Missing files are reported before any network loads.
    device = pick_device(a.device)
    folders = ablation_folders(a.ablation)
    engines = {name: Engine(folder, device, torch.float32) for name, folder in folders.items()}
    engine = Engine(a.weights or SHIPPED[a.preset], device, torch.float32)
    adapted = replace(engine, loras=((read_lora(a.lora), 1.0),)) if a.lora else None
    for each in (engine, *engines.values()):
        each.require()
    judge = load_landmarker().to(device)
    options = Options(a.people, a.frames, a.long, a.ablation_frames)
    others = {name: each.load() for name, each in engines.items()}
    subject = Subject(engine.load(), others, adapted.load() if adapted else None)
    found, sheets = evaluate(subject, judge, options, _quietly if a.quiet else _shown)
    pictures = {f"{PAGE}_{name}.jpg": sheet(columns) for name, columns in sheets.items()}
    pictures[f"{PAGE}_stability.png"] = psnr_plot(found.stability.trace)
    figures = values(found)
    # The page names the command that reproduces it.
    given = [" --weights DIR" * bool(a.weights), " --lora FILE" * bool(a.lora)]
    given += [f" --ablation {name}=DIR" for name in folders]
    given += [f" --{name.replace('_', '-')} {value}" for name, value in vars(options).items()
              if value != getattr(Options(), name)]  # fmt: skip
    command = f"python -m personalive_core evaluate --preset {a.preset}{''.join(given)}"
    text = page(found, command)
    _write(a.output / f"{PAGE}.md", text)
    _write(a.output / f"{PAGE}.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    for name, picture in pictures.items():
        write_image(a.output / name, picture)
    return Result("\n".join([*map(str, found.targets), f"{a.output / PAGE}.md: all figures"]), figures)


def ablation_folders(given: list[str]) -> dict[str, Path]:
    """Parses NAME=DIR of each trained ablation. Raises InputError for an unknown name or a missing folder."""
    folders = {}
    for text in given:
        name, _, folder = text.partition("=")
        if name not in TRAINED or not folder:
            raise InputError(f"--ablation takes NAME=DIR with a NAME of {', '.join(TRAINED)}, got {text!r}")
        folders[name] = Path(folder)
    return folders


def _write(path: Path, text: str) -> None:
    with whole_file(path, (path.suffix,)) as partial:
        partial.write_text(text, encoding="utf-8")


def _quietly(items: Iterable[_T], title: str, total: int) -> Iterable[_T]:  # noqa: ARG001 - as `_shown`
    return items


def _shown(items: Iterable[_T], title: str, total: int) -> Iterable[_T]:
    from tqdm import tqdm

    bar: Iterable[_T] = tqdm(items, desc=title, total=total, file=sys.stderr)
    return bar
