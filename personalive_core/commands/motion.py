"""The command `personalive motion`: extracts a driving video's motion into a motion file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..animation.extracting import extract_to_file
from ..animation.hunyuan_job import extract_hunyuan
from ..animation.implicit_job import extract_implicit
from ..backends.hunyuan.motion_files import HUNYUAN_MOTION
from ..backends.liveportrait.motion_files import IMPLICIT
from ..backends.personalive.novelty import novelty_curve
from ..backends.personalive.types import StreamConfig
from ..backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE
from ..media.files import check_written
from ..media.picture import Picture, write_image
from ..motion.changes import implicit_plot
from ..motion.files import HYBRID, MotionFile, MotionKind, read_kind
from ..motion.plot import motion_plot
from ..motion.times import average_rate
from ..motion.types import AnyMotion
from ..text import plural
from .hunyuan import add_licence, hunyuan_engine
from .liveportrait_options import liveportrait_engine_of
from .options import add_clip, add_engine, add_system, clip_of, engine_of
from .result import Result
from .systems import CLIP_OWNED, ENGINE_OWNED, refuse_unowned

_KINDS: Mapping[str, MotionKind[Any]] = {LIVEPORTRAIT: IMPLICIT, HUNYUAN: HUNYUAN_MOTION}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive motion`."""
    add_system(parser)
    parser.add_argument("--driving", type=Path, required=True, help="video or folder of pictures")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors")
    add_engine(parser)
    add_clip(parser)
    add_licence(parser)
    parser.add_argument(
        "--plot", type=Path, help="draw head pose and novelty (other systems: expression) over time: .png or .jpg"
    )


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive motion`."""
    motion: AnyMotion
    refuse_unowned(a, ENGINE_OWNED, CLIP_OWNED)
    if a.plot:
        check_written(a.plot, (".png", ".jpg", ".jpeg"), {"driving": a.driving})
    if a.system == LIVEPORTRAIT:
        motion = extract_implicit(clip_of(a), liveportrait_engine_of(a), a.output, a.quiet)
    elif a.system == HUNYUAN:
        motion = extract_hunyuan(clip_of(a), hunyuan_engine(a), a.output, a.quiet)
    else:
        motion = extract_to_file(clip_of(a), engine_of(a), a.output, a.quiet)
    valid, facts = int(motion.valid.sum()), {"output": str(a.output), "frames": len(motion)}
    if a.plot:
        write_image(a.plot, plot_of(a.output, a.system), label=False)
        facts["plot"] = str(a.plot)
    drawn = f"\n{a.plot}: plot" if a.plot else ""
    return Result(
        f"{a.output}: {plural(len(motion), 'frame')}, {valid} with a face{drawn}",
        {**facts, "filled": len(motion) - valid},
    )


def plot_of(path: Path, system: str) -> Picture:
    """The plot [H, W, 3] of a motion file of this system."""
    if system != PERSONALIVE:
        other: MotionFile[Any] = read_kind(_KINDS[system], path)
        return implicit_plot(other.motion, float(average_rate(other.times)))
    hybrid, config = read_kind(HYBRID, path), StreamConfig()
    curve = novelty_curve(hybrid.motion.embedding, config)
    rate = float(average_rate(hybrid.times))
    return motion_plot(hybrid.motion, curve.points, rate, config.keyframe_distance, curve.keyframes)
