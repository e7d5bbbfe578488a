"""The command `personalive evaluate`: evaluates a model and writes a page, figures and pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import torch

from ..animation.engine import Engine
from ..backends.personalive.files import SHIPPED
from ..backends.personalive.lora import read_lora
from ..device import pick_device
from ..drawn.landmarker import LANDMARKERS, SIZE, load_landmarker
from ..errors import InputError
from ..evaluation.ablations import TRAINED
from ..evaluation.evaluate import Evaluation, Options, Subject, Views, evaluate
from ..evaluation.pictures import psnr_plot, sheet
from ..evaluation.report import page
from ..evaluation.stored import combined_runs, read_evaluation, values
from ..media.files import check_written, whole_file
from ..media.picture import Picture, write_image
from .options import add_device, add_reporting, add_size
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
    parser.add_argument(
        "--report", type=Path, nargs="+", metavar="FILE",
        help="measure nothing: write the page from evaluation.json files, each part from the last that has it",
    )  # fmt: skip
    add_device(parser)
    add_size(parser, default=SIZE)
    parser.add_argument(
        "--style", choices=[*LANDMARKERS], default="photo", help="of the drawn people (default: %(default)s)"
    )
    parser.add_argument(
        "--journeys", action=argparse.BooleanOptionalAction,
        help="large turns, leaving and coming back in the clips of the ablations (default: with --style fine)",
    )  # fmt: skip
    default = Options()
    for name, read, text in (
        ("people", whole(1), "of each task"),
        ("frames", whole(3), "of each clip"),
        ("long", none_or(12), "frames of the long stream, 0: it is not measured"),
        ("ablation-frames", none_or(3), "of each clip of the ablations, 0: they are not measured"),
    ):
        value = getattr(default, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=read, default=value, help=f"{text} (default: %(default)s)")
    add_reporting(parser)


def none_or(least: int) -> Callable[[str], int]:
    """Returns a parser of whole numbers: 0, or `least` or more."""

    def read(text: str) -> int:
        value = whole(0)(text)
        return value if value == 0 else whole(least)(text)

    return read


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive evaluate`."""
    if a.report:
        return _written(a.output, combined_runs([read_evaluation(path) for path in a.report]), {})
    # Missing files, and a folder that cannot be written, are reported before any network loads.
    device = pick_device(a.device)
    folders = ablation_folders(a.ablation)
    engines = {name: Engine(folder, device, torch.float32) for name, folder in folders.items()}
    engine = Engine(a.weights or SHIPPED[a.preset], device, torch.float32)
    adapted = replace(engine, loras=((read_lora(a.lora), 1.0),)) if a.lora else None
    for each in (engine, *engines.values()):
        each.require()
    check_written(a.output / f"{PAGE}.json", (".json",), {})
    judge = load_landmarker(LANDMARKERS[a.style]).to(device)
    journeys = a.style == "fine" if a.journeys is None else a.journeys
    options = Options(a.people, a.frames, a.long, a.ablation_frames, a.size, a.style, journeys)
    others = {name: each.load() for name, each in engines.items()}
    subject = Subject(engine.load(), others, adapted.load() if adapted else None)
    command = command_line(a, options, folders)
    found, views = evaluate(subject, judge, options, _quietly if a.quiet else _shown, command)
    return _written(a.output, found, pictures_of(views))


def command_line(a: argparse.Namespace, options: Options, folders: Mapping[str, Path]) -> str:
    """The command that reproduces the figures, without the user's paths."""
    given = [" --weights DIR" * bool(a.weights), " --lora FILE" * bool(a.lora)]
    given += [f" --ablation {name}=DIR" for name in folders]
    changed = {field.name: getattr(options, field.name) for field in fields(Options)
               if field.name != "journeys" and getattr(options, field.name) != field.default}  # fmt: skip
    given += [f" --{name.replace('_', '-')} {value}" for name, value in changed.items()]
    if a.journeys is not None:
        given.append(" --journeys" if a.journeys else " --no-journeys")
    return f"python -m personalive_core evaluate --preset {a.preset}{''.join(given)}"


def pictures_of(views: Views) -> dict[str, Picture]:
    """The pictures beside the page, by file name."""
    pictures = {f"{PAGE}_{name}.jpg": sheet(columns) for name, columns in views.sheets.items()}
    return pictures if views.trace is None else {**pictures, f"{PAGE}_stability.png": psnr_plot(views.trace)}


def _written(folder: Path, found: Evaluation, pictures: Mapping[str, Picture]) -> Result:
    figures = values(found)
    _write(folder / f"{PAGE}.md", page(found))
    _write(folder / f"{PAGE}.json", json.dumps(figures, indent=1, allow_nan=False) + "\n")
    for name, picture in pictures.items():
        write_image(folder / name, picture)
    return Result("\n".join([*map(str, found.targets), f"{folder / PAGE}.md: all figures"]), figures)


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
