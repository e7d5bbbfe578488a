"""Reads a driving's motion for LivePortrait, in windows, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice

import comfy.utils
import torch

from ...personalive_core.backends.liveportrait.crops import SIDE
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.motion import FaceFacts, read_implicit, unit_pictures
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.faces.crop import FaceDetector
from ...personalive_core.faces.tracking import CroppedFrame, TrackOptions, crop_frames
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.gaps import fill_missing
from ...personalive_core.motion.times import times_of
from ...personalive_core.motion.types import concat_motion
from .footage import DrivingFrames
from .memory import check_interrupt

WINDOW = 4  # frames that are read at once


def read_driving(
    model: LivePortrait, driving: DrivingFrames, detector: FaceDetector | None, track: TrackOptions, missing: str
) -> tuple[ImplicitMotion, torch.Tensor]:
    """The motion of all frames, and their times [F + 1].

    Raises ComfyUI's InterruptProcessingException at the next frame after the user pressed Cancel, FaceError for a
    missing face if `missing` says so.
    """
    bar = comfy.utils.ProgressBar(max(driving.total, 1))
    shown: list[tuple[Fraction, Fraction | None]] = []

    def noted() -> Iterator[Picture]:
        for index, frame in enumerate(chain([driving.first], driving.frames)):
            check_interrupt()
            bar.update_absolute(index, max(driving.total, index))
            shown.append((frame.time, frame.duration))
            yield frame.image

    parts = crop_frames(noted(), SIDE // 2, detector, track)
    motion = concat_motion(fill_missing(windows(model, parts), missing))
    return motion, times_of(shown, driving.rate)


def windows(model: LivePortrait, parts: Iterable[CroppedFrame]) -> Iterator[ImplicitMotion]:
    """Yields the motion of each window of cropped frames."""
    parts = iter(parts)
    while window := list(islice(parts, WINDOW)):
        squares = ((part.crop.left, part.crop.top, part.crop.size) for part in window)
        box = torch.tensor([(left, top, left + size, top + size) for left, top, size in squares])
        facts = FaceFacts(box=box.float(), valid=torch.tensor([part.found for part in window]))
        yield read_implicit(model, unit_pictures([part.picture for part in window]), facts)
