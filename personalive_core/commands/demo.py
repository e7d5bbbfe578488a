"""The command `personalive demo`: animates the drawn sample with the bundled small model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from ..animation.driving import DrivingClip
from ..animation.engine import Engine
from ..animation.job import AnimationJob
from ..backends.personalive.files import SHIPPED
from ..device import pick_device
from ..drawn.sample import write_sample
from .animate import result_of
from .options import add_device, add_loras, add_reporting, loras_of
from .readers import number
from .result import Result

DEMO_SIZE = 128  # pixels a side; the small model was trained at this size


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive demo`."""
    parser.add_argument("--output", type=Path, default=Path("output/demo.mp4"), help="film (default: %(default)s)")
    parser.add_argument(
        "--sheet", type=Path, default=Path("output/demo.png"), help="contact sheet (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=number(0.04, 60), default=4.0, help="length of the drawn film (default: 4)")
    add_device(parser)
    add_loras(parser)
    add_reporting(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive demo`."""
    sys.stderr.write(
        "demo: the small model, which comes with PersonaLive, has learned drawn people alone, at "
        f"{DEMO_SIZE}x{DEMO_SIZE} pixels. For photographs run `personalive download`, then `personalive animate`.\n"
    )
    reference, driving = write_sample(a.output.parent / "demo-files", a.seconds, DEMO_SIZE)
    engine = Engine(SHIPPED["small"], pick_device(a.device), torch.float32, size=DEMO_SIZE, loras=loras_of(a))
    return result_of(AnimationJob(reference, DrivingClip(driving), a.output, engine, sheet=a.sheet, quiet=a.quiet))
