"""The commands `personalive train` and `personalive train prepare`: their arguments, and the run they start."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from ..animation.engine import Engine
from ..device import pick_device
from ..errors import InputError
from ..text import plural
from ..training.adapters import with_adapters
from ..training.ahead import reading_ahead
from ..training.card import write_card
from ..training.loop import Run, train
from ..training.networks import networks_of
from ..training.prepare import Drawing, prepare_drawn
from ..training.prepare_videos import LARGEST_STRIDE, Cut, Prepared, prepare_videos
from ..training.presets import PRESETS, STAGES, preset
from ..training.recipe import assemble
from ..training.session import PLANS, Session, plan_of, train_session
from .options import add_detector, add_device, add_size, add_weights
from .readers import number, whole
from .result import Result

MIXED_PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}  # our names to those of `accelerate`
CHANGED = ("steps", "clips", "accumulation", "rate")  # preset values that arguments override


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive train` and `personalive train prepare`."""
    actions = parser.add_subparsers(dest="action", metavar="prepare|session")
    _add_prepare(actions.add_parser("prepare", help="cache training clips: from videos, or of drawn people"))
    _add_session(actions.add_parser("session", help="draw people and train all stages of a preset, within minutes"))
    parser.add_argument(
        "--stage", choices=STAGES, help="1, 2 or 3 of the paper, or a network that the paper takes ready-made"
    )
    names = ", ".join(dict.fromkeys(name for name, _ in PRESETS))
    parser.add_argument("--preset", default="small", help=f"{names} (default: %(default)s); not each has every stage")
    parser.add_argument("--data", type=Path, nargs="+", metavar="DIR", help="folders that `train prepare` wrote")
    parser.add_argument("--output", type=Path, help="folder of the run; an unfinished run in it resumes")
    parser.add_argument(
        "--start", type=Path, metavar="DIR", help="weights folder to start from (default: fresh weights)"
    )
    parser.add_argument("--seed", type=whole(0), default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--precision", choices=[*MIXED_PRECISIONS], help="(default: the preset's)")
    parser.add_argument(
        "--minutes", type=number(0), default=0.0, help="keep the run before these are over; the same command goes on"
    )
    parser.add_argument(
        "--workers", type=whole(0), default=0, help="threads that read the next steps' clips (default: %(default)s)"
    )
    for name in CHANGED:
        kind = number(0) if name == "rate" else whole(1)
        parser.add_argument(f"--{name}", type=kind, help="instead of the preset's")
    parser.add_argument(
        "--lora", type=whole(1), metavar="RANK", help="train a LoRA of this rank; the networks of --start stay frozen"
    )
    parser.add_argument("--tensorboard", action="store_true", help="write the losses for TensorBoard too")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, required=True, help="folder for the clips; existing clips are kept")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--videos", type=Path, metavar="DIR", help="use all videos in this folder and its subfolders")
    source.add_argument("--drawn", type=whole(1), metavar="N", help="draw N people instead")
    parser.add_argument("--frames", type=whole(2), default=16, help="frames of each clip (default: %(default)s)")
    parser.add_argument(
        "--stride", type=whole(1, LARGEST_STRIDE), default=1, help="take every N-th frame (default: %(default)s)"
    )
    add_size(parser, default=128)
    add_weights(parser)
    add_device(parser)
    videos = parser.add_argument_group("of videos")
    add_detector(videos)
    videos.add_argument("--quiet", action="store_true", help="no progress bar")
    drawn = parser.add_argument_group("of drawn people")
    drawn.add_argument("--split", choices=["train", "test"], default="train", help="split of people and motions")
    drawn.add_argument("--style", choices=["photo", "line", "fine"], default="photo", help="(default: %(default)s)")
    drawn.add_argument("--actors", action="store_true", help="draw a second person in each clip's motion too")
    drawn.add_argument("--journeys", action="store_true", help="longer films: large turns, leaving and coming back")
    drawn.add_argument(
        "--seen",
        action="store_true",
        help="store the motion extracted by --weights' networks instead of the ground truth",
    )
    drawn.add_argument(
        "--workers", type=whole(0), default=0, help="processes that draw (default: 0, this one alone); not with --seen"
    )


def _add_session(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--preset", choices=[*PLANS], default="portrait", help="(default: %(default)s)")
    parser.add_argument("--output", type=Path, required=True, help="folder of clips and runs; the same one resumes")
    parser.add_argument("--minutes", type=number(0), default=0.0, help="end, and keep all, before these are over")
    parser.add_argument("--workers", type=whole(1), default=2, help="processes that draw (default: %(default)s)")
    parser.add_argument("--seed", type=whole(0), default=0, help="of all that is random (default: %(default)s)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def run(a: argparse.Namespace) -> Result:
    """Trains one stage, or prepares clips. Raises InputError for a missing argument, and for a LoRA without --start."""
    if a.action == "session":
        return _session(a)
    if a.action == "prepare":
        return _prepared_videos(a) if a.videos else _prepared_drawn(a)
    for name in ("stage", "data", "output"):
        if getattr(a, name) is None:
            raise InputError(f"the argument --{name} is missing: `personalive train --help` says what it is")

    changed = {name: getattr(a, name) for name in CHANGED if getattr(a, name) is not None}
    row = replace(preset(a.preset, a.stage), **changed)
    begun = time.monotonic()
    source, stage = assemble(a.preset, a.stage, row, a.data, a.start, a.seed)
    networks = networks_of(source.model, () if a.lora else row.trains)
    if a.lora:
        if not a.start:
            raise InputError("a LoRA is learned for weights that are there: name their folder with --start")
        stage, row = with_adapters(stage, source.model, row.trains, a.lora, a.seed), replace(row, ema=0.0)
    training = Run(
        a.output, a.stage, row, a.seed, MIXED_PRECISIONS[a.precision] if a.precision else row.precision,
        quiet=a.quiet, tensorboard=a.tensorboard, minutes=a.minutes, begun=begun,
    )  # fmt: skip
    with reading_ahead(a.workers) as ahead:
        weights = train(training, stage, replace(source, ahead=ahead), networks)
    card = write_card(training, a.preset, source.model.device)
    return Result(_ended(weights, card), {"weights": str(weights), **card})


def _ended(weights: Path, card: Mapping[str, object]) -> str:
    text = f"{weights}: the weights of stage {card['stage']} after {plural(int(str(card['steps'])), 'step')}"
    return text if card["finished"] else f"{text}, not finished yet: the same command goes on from there"


def _session(a: argparse.Namespace) -> Result:
    cards = train_session(Session(a.preset, a.output, a.minutes, a.workers, a.seed, a.quiet))
    said = "stage {stage}: {steps} steps, {minutes} minutes ({device})"
    done = len(cards) == len(plan_of(a.preset).acts) and all(card["finished"] for card in cards)
    last = f"{a.output / '3' / 'weights'}: the model" if done else f"{a.output}: not finished yet, go on with the same"
    lines = [said.format(**card) for card in cards]
    return Result("\n".join([*lines, last]), cards)


def _prepared_drawn(a: argparse.Namespace) -> Result:
    reader = None
    if a.seen:
        engine = _engine(a)
        engine.require()
        reader = engine.load()
    drawing = Drawing(a.size, a.frames, a.stride, a.style, a.actors, a.journeys)
    prepare_drawn(a.output, a.split, range(a.drawn), drawing, reader, a.workers)
    return Result(f"{a.output}: {plural(a.drawn, 'drawn clip')} of {a.frames} frames")


def _prepared_videos(a: argparse.Namespace) -> Result:
    made = prepare_videos(a.videos, _engine(a), a.output, Cut(a.size, a.frames, a.stride, a.detector), a.quiet)
    return Result(_sentence(a, made), {"clips": dict(made.clips), "left_out": dict(made.left_out)})


def _engine(a: argparse.Namespace) -> Engine:
    """The networks that extract the motion of clips; float32."""
    return Engine(a.weights, pick_device(a.device), torch.float32, size=a.size)


def _sentence(a: argparse.Namespace, made: Prepared) -> str:
    clips = plural(sum(made.clips.values()), "clip")
    said = [f"{a.output}: {clips} of {a.frames} frames from {plural(len(made.clips), 'video')}"]
    if made.left_out:
        said.append(f"{plural(len(made.left_out), 'video')} gave none:")
        said.extend(f"  {name}: {reason}" for name, reason in made.left_out.items())
    return "\n".join(said)
