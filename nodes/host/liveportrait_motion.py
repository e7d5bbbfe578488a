"""Reads a driving's motion for LivePortrait, with a progress bar: faces in a first pass, motion in a second."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain

import comfy.utils
import torch

from ...personalive_core.backends.liveportrait.driving import DrivingFaces, find_driving, read_driving
from ...personalive_core.backends.liveportrait.finding import Finder
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.gaps import fill_missing
from ...personalive_core.motion.times import times_of
from ...personalive_core.motion.types import concat_motion
from .footage import DrivingFrames
from .memory import check_interrupt

Shown = list[tuple[Fraction, Fraction | None]]  # time and duration of the frames that were read


def motion_of_driving(
    model: LivePortrait, opened: Callable[[], DrivingFrames], finder: Finder, missing: str
) -> tuple[ImplicitMotion, torch.Tensor]:
    """The motion of all frames of a driving, which is `opened` for each pass, and their times [F + 1].

    Raises ComfyUI's InterruptProcessingException at the next frame after the user pressed Cancel, FaceError if no frame
    has a face, or for a missing one if `missing` says so.
    """
    driving, passes = opened(), 2 if finder.looks else 1
    bar = comfy.utils.ProgressBar(max(driving.total, 1) * passes)
    faces, shown = DrivingFaces(), Shown()
    if finder.looks:
        faces = find_driving(frames_of(driving, bar, Shown()), finder)
        driving = opened()
    motions = read_driving(model, frames_of(driving, bar, shown), faces)
    motion = concat_motion(fill_missing(motions, missing))
    return motion, times_of(shown, driving.rate)


def frames_of(driving: DrivingFrames, bar: comfy.utils.ProgressBar, shown: Shown) -> Iterator[Picture]:
    """Yields the pictures of a driving, and notes their times in `shown`."""
    for frame in chain([driving.first], driving.frames):
        check_interrupt()
        bar.update(1)
        shown.append((frame.time, frame.duration))
        yield frame.image
