"""The command `personalive motion`: extracts a driving video's motion into a motion file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..animation.implicit_job import extract_implicit
from ..animation.job import extract_to_file
from ..backends.registry import LIVEPORTRAIT
from ..motion.types import AnyMotion
from ..text import plural
from .liveportrait import implicit_engine
from .options import add_clip, add_engine, add_system, clip_of, engine_of
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive motion`."""
    add_system(parser)
    parser.add_argument("--driving", type=Path, required=True, help="video or folder of pictures")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors")
    add_engine(parser)
    add_clip(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive motion`."""
    motion: AnyMotion
    if a.system == LIVEPORTRAIT:
        motion = extract_implicit(clip_of(a), implicit_engine(a), a.output, a.quiet)
    else:
        motion = extract_to_file(clip_of(a), engine_of(a), a.output, a.quiet)
    valid = int(motion.valid.sum())
    return Result(
        f"{a.output}: {plural(len(motion), 'frame')}, {valid} with a face",
        {"output": str(a.output), "frames": len(motion), "filled": len(motion) - valid},
    )
