"""The command `personalive motion`: extracts a driving video's motion into a motion file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..animation.job import extract_to_file
from ..text import plural
from .options import add_clip, add_engine, clip_of, engine_of
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive motion`."""
    parser.add_argument("--driving", type=Path, required=True, help="video or folder of pictures")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors")
    add_engine(parser)
    add_clip(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive motion`."""
    motion = extract_to_file(clip_of(a), engine_of(a), a.output, a.quiet)
    valid = int(motion.valid.sum())
    return Result(
        f"{a.output}: {plural(len(motion), 'frame')}, {valid} with a face",
        {"output": str(a.output), "frames": len(motion), "filled": len(motion) - valid},
    )
