"""Reads a driving's motion for LivePortrait, in windows, with a progress bar."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain, islice

import comfy.utils
import torch

from ...personalive_core.backends.liveportrait.crops import SIDE
from ...personalive_core.backends.liveportrait.finding import Finder, FollowState, FoundFace, follow_face
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.liveportrait.motion import read_implicit, unit_pictures
from ...personalive_core.backends.liveportrait.portrait import WINDOW, face_facts
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.faces.crop import Crop, crop_image, portrait_crop, whole_frame
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.gaps import fill_missing
from ...personalive_core.motion.times import times_of
from ...personalive_core.motion.types import concat_motion
from .footage import DrivingFrames
from .memory import check_interrupt


def read_driving(
    model: LivePortrait, driving: DrivingFrames, finder: Finder, missing: str
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

    motion = concat_motion(fill_missing(windows(model, noted(), finder), missing))
    return motion, times_of(shown, driving.rate)


def windows(model: LivePortrait, frames: Iterable[Picture], finder: Finder) -> Iterator[ImplicitMotion]:
    """Yields the motion of each window of frames."""
    parts = followed(frames, finder)
    while window := list(islice(parts, WINDOW)):
        found = [face for _, face in window]
        facts = face_facts(found, [face is not None or not finder.looks for face in found])
        yield read_implicit(model, unit_pictures([picture for picture, _ in window]), facts)


def followed(frames: Iterable[Picture], finder: Finder) -> Iterator[tuple[Picture, FoundFace | None]]:
    """Yields the square [256, 256, 3] around the followed face of each frame, and the face; None if it is missing.

    The square is the tracker's, which moves only when it must: the motion that is read is then the head's.
    """
    state = FollowState()
    for frame in frames:
        state, found = follow_face(state, frame, finder)
        yield crop_image(frame, square_of(state, frame, finder), SIDE // 2), found


def square_of(state: FollowState, frame: Picture, finder: Finder) -> Crop:
    """The square that is read of a frame."""
    if finder.track.manual is not None:
        return portrait_crop(finder.track.manual, frame.shape[:2])
    return state.track.crop if state.track else whole_frame(frame.shape[:2])
