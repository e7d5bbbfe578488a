"""The command `personalive check`: measures trained weights and compares each figure with its expected range."""

from __future__ import annotations

import argparse
import math
from collections import deque
from dataclasses import asdict
from pathlib import Path

from ..animation.engine import Engine
from ..animation.hunyuan_engine import HunyuanEngine
from ..animation.job import SHEET_SUFFIXES
from ..animation.liveportrait_engine import LivePortraitEngine
from ..animation.portrait import read_portrait
from ..backends.hunyuan.backend import HunyuanBackend, required_yunet
from ..backends.registry import HUNYUAN, LIVEPORTRAIT
from ..drawn.canvas import FaceMotion
from ..drawn.person import draw_portrait
from ..drawn.sample import DRIVER, RATE, SITTER, sample_motion
from ..evaluation.check import findings_table, run_check
from ..evaluation.hunyuan_check import check_hunyuan
from ..evaluation.implicit_check import check_implicit
from ..faces.detectors import YuNetDetector
from ..media.files import check_written
from ..media.picture import Picture, write_image
from ..media.video import read_frames
from .hunyuan import add_licence, hunyuan_engine
from .liveportrait_options import liveportrait_engine_of
from .options import add_animal, add_engine, add_loras, add_system, engine_of, loras_of, refuse_options
from .result import Result
from .systems import ENGINE_OWNED, refuse_unowned

FRAMES = 30  # a user's video is checked at its 30th frame (or its last): after about a second the face has moved


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive check`."""
    add_system(parser)
    add_engine(parser)
    add_loras(parser)
    add_animal(parser)
    add_licence(parser)
    parser.add_argument("--reference", type=Path, help="a square portrait of yours (default: a drawn one)")
    parser.add_argument("--driving", type=Path, help="a square driving video of yours (default: a drawn one)")
    parser.add_argument("--sheet", type=Path, default=Path("output/check.png"), help="default: %(default)s")


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive check`."""
    refuse_options(a, (LIVEPORTRAIT,), {"animal": False})
    refuse_unowned(a, ENGINE_OWNED)
    engine = _engine_of(a)
    engine.require()
    read = {"reference": a.reference, "driving": a.driving}
    check_written(a.sheet, SHEET_SUFFIXES, {name: path for name, path in read.items() if path})
    portrait = read_portrait(a.reference) if a.reference else draw_portrait(SITTER, FaceMotion(), a.size)
    if isinstance(engine, LivePortraitEngine):
        report = check_implicit(engine.load(), portrait, _other_pose(a))
    elif isinstance(engine, HunyuanEngine):
        detector = YuNetDetector(required_yunet(a.weights))
        report = check_hunyuan(HunyuanBackend(engine.load(), detector, side=a.size), portrait, _other_pose(a))
    else:
        report = run_check(engine.load(), portrait, _other_pose(a), a.size)
    write_image(a.sheet, report.sheet)
    text = f"{findings_table(report.findings)}\n{a.sheet}: look at it"
    findings = [
        {key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in row.items()}
        for row in ({**asdict(finding), "good": finding.good} for finding in report.findings)
    ]
    return Result(text, {"good": report.good, "sheet": str(a.sheet), "findings": findings}, 0 if report.good else 1)


def _engine_of(a: argparse.Namespace) -> Engine | LivePortraitEngine | HunyuanEngine:
    if a.system == LIVEPORTRAIT:
        return liveportrait_engine_of(a, a.animal)
    return hunyuan_engine(a) if a.system == HUNYUAN else engine_of(a, loras_of(a))


def _other_pose(a: argparse.Namespace) -> Picture:
    if not a.driving:
        return draw_portrait(DRIVER, sample_motion(20, RATE), a.size)
    return deque(read_frames(a.driving, count=FRAMES), maxlen=1)[0].image
