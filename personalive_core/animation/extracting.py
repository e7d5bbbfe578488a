"""Runs `motion` from a driving to a motion file, for every system."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from ..errors import InputError
from ..media.files import check_written
from ..media.video import Frame
from ..motion.files import HYBRID, MotionKind, save_kind
from ..motion.files import SUFFIXES as MOTION_SUFFIXES
from ..motion.times import times_of
from ..motion.types import HybridMotion, MotionT, concat_motion
from .driving import DrivingClip, DrivingVideo, open_driving
from .engine import Engine
from .job import OnDevice, progress
from .pipeline import film_motion
from .sharing import FrameTime, noted

# An opened driving, and how a loaded model reads the motion of its frames, filled.
Reading = tuple[DrivingVideo, Callable[[Any, Iterable[Frame]], Iterable[MotionT]]]


class Loadable(OnDevice, Protocol):
    """An engine that loads its model."""

    def load(self) -> Any: ...  # noqa: ANN401 - each system has its own


def extract_to_file(clip: DrivingClip, engine: Engine, output: Path, quiet: bool) -> HybridMotion:
    """Extracts the motion of `clip`'s frames and writes it, with their times, to the motion file `output`.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """

    def opened() -> Reading[HybridMotion]:
        source = open_driving(clip, engine.size, engine.weights)
        return source, lambda model, frames: film_motion(model, frames, source.options)

    return extract_film(HYBRID, clip, engine, opened, output, quiet)


def extract_film(
    kind: MotionKind[MotionT],
    clip: DrivingClip,
    engine: Loadable,
    opened: Callable[[], Reading[MotionT]],
    output: Path,
    quiet: bool,
) -> MotionT:
    """`extract_to_file` for any system; `opened` opens the driving, before the networks load."""
    if clip.missing == "neutral":
        raise InputError("neutral is the reference's own motion and none is given: use hold, interpolate or error")
    check_written(output, MOTION_SUFFIXES, {"driving": clip.path})
    engine.require()
    source, read = opened()
    model = engine.load()
    shown: list[FrameTime] = []

    with closing(source.read()) as frames:
        bar = progress(frames, source.count, "motion", quiet)
        motion = concat_motion(read(model, noted(bar, shown)))
    details = {"rate": str(source.rate), "driving": clip.path.name}
    save_kind(kind, output, motion, details, times_of(shown, source.rate))
    return motion
