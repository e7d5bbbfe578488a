"""What drives an animation: a video with its faces, or a motion file; opened, and refused, before any network loads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path

from ..backends.personalive.files import yunet_file
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import Reference
from ..errors import InputError
from ..faces.crop import Box, FaceDetector
from ..faces.detectors import detector_for
from ..faces.tracking import TrackOptions
from ..media.picture import Picture
from ..media.video import Frame, probe, read_frames
from ..motion.files import load_motion, motion_rate
from ..motion.smoothing import pose_smoothing
from .pipeline import AnimatedFrame, AnimateOptions, MotionOptions, animate, animate_motion
from .sheet import thinning_stride, thumbnail

MOTION_SUFFIX = ".safetensors"
MOST_SHOWN = 64  # small driving pictures held for the contact sheet, far more than are under way without a gap


@dataclass(frozen=True)
class DrivingClip:
    """Which driving, which part of it, and how its faces are found."""

    path: Path  # video, picture folder, or a motion file
    start: float = 0.0  # seconds
    count: int | None = None
    rate: Fraction | None = None  # None: as it is
    missing: str = "hold"
    smooth: float | None = None  # One-Euro minimum cutoff in Hz
    detector: str = "auto"  # auto: none for square pictures, yunet for others
    choice: str = "largest"
    box: Box | None = None


class Shown:
    """Small driving pictures by frame, for the contact sheet: bounded, however long frames wait for a face.

    When there are too many, every second goes. What stays are multiples of a power of two, and so are the frames of
    the sheet, of a larger one by the time it is done: only a keyframe inside a gap may get a neighbour's picture.
    """

    def __init__(self, most: int = MOST_SHOWN) -> None:
        self._most, self._pictures = most, dict[int, Picture]()

    def __len__(self) -> int:
        return len(self._pictures)

    def note(self, index: int, image: Picture) -> None:
        """Holds frame `index`'s `image` [H, W, 3], made small."""
        self._pictures[index] = thumbnail(image)
        stride = thinning_stride(self._pictures, self._most)
        for skipped in [held for held in self._pictures if held % stride]:
            del self._pictures[skipped]

    def take(self, index: int) -> Picture | None:
        """Frame `index`'s picture, or that of the nearest held before it; None where none was ever held.

        To be asked in order: what lies before that picture goes.
        """
        earlier = [held for held in self._pictures if held <= index]
        for passed in earlier[:-1]:
            del self._pictures[passed]
        return self._pictures[earlier[-1]] if earlier else None


@dataclass(frozen=True, eq=False)
class DrivingVideo:
    """A driving video, its first frame read."""

    clip: DrivingClip
    rate: Fraction
    count: int | None  # an estimate, for the progress bar
    options: MotionOptions
    has_audio: bool

    def read(self) -> Iterator[Frame]:
        """Its frames, from the first asked for."""
        return read_frames(self.clip.path, self.clip.start, self.clip.count, self.clip.rate)

    def animate(
        self, model: PersonaLive, reference: Reference, options: AnimateOptions, shown: Shown | None
    ) -> Iterator[AnimatedFrame]:
        """Each of its frames animated; their own pictures are noted in `shown`."""
        return animate(model, reference, self._noted(shown), replace(options, motion=self.options))

    def _noted(self, shown: Shown | None) -> Iterator[Frame]:
        for index, frame in enumerate(self.read()):
            if shown is not None:
                shown.note(index, frame.image)
            yield frame


@dataclass(frozen=True, eq=False)
class SavedMotion:
    """A motion file in the place of a video: no sound, and no pictures to show."""

    clip: DrivingClip
    rate: Fraction
    count: int | None
    has_audio: bool = False

    def animate(
        self, model: PersonaLive, reference: Reference, options: AnimateOptions, shown: Shown | None
    ) -> Iterator[AnimatedFrame]:
        """Each of its frames animated; nothing is noted in `shown`."""
        del shown  # only the motion was kept
        begin = round(self.clip.start * self.rate)
        motion = load_motion(self.clip.path)[begin:][: self.clip.count]
        for frame in animate_motion(model, reference, [motion], options):
            yield replace(frame, time=frame.index / self.rate)


def find_detector(name: str, picture: Picture, weights: Path) -> FaceDetector | None:
    """The detector for pictures shaped like `picture` [H, W, 3]; None: the whole picture is the portrait.

    Raises WeightsError where YuNet is needed and not in `weights`, InputError where a detector's package is missing.
    """
    problem = (
        f"a {picture.shape[1]}x{picture.shape[0]} picture needs a face detector and YuNet is not in {weights}: "
        "run `personalive download --detector`, or give --detector haar, --detector none or a face box"
    )
    return detector_for(name, picture, partial(yunet_file, weights, problem))


def open_driving(clip: DrivingClip, size: int, weights: Path) -> DrivingVideo:
    """The video or folder at `clip.path`, for pictures of `size` pixels a side.

    Raises InputError where it cannot be read or ends before the start, WeightsError where a detector is missing.
    """
    info = probe(clip.path)
    first = next(read_frames(clip.path, clip.start, 1, clip.rate), None)
    if first is None:
        raise InputError(f"{clip.path} has no frame at {clip.start:g} s: start earlier")
    rate = clip.rate or info.rate
    left = None if info.duration is None else max(round((info.duration - Fraction(clip.start)) * rate), 1)
    options = MotionOptions(
        size=size,
        detector=None if clip.box else find_detector(clip.detector, first.image, weights),
        track=TrackOptions(choice=clip.choice, manual=clip.box),
        missing=clip.missing,
        smoothing=pose_smoothing(float(rate), clip.smooth),
    )
    return DrivingVideo(clip, rate, _fewer(clip.count, left), options, info.has_audio)


def open_motion(clip: DrivingClip) -> SavedMotion:
    """The motion file at `clip.path`. Raises InputError for another file, or one that ends before the start."""
    if clip.rate is not None:
        raise InputError(f"{clip.path} is a motion file, whose frames have their rate: leave --rate out")
    rate = motion_rate(clip.path)
    frames = len(load_motion(clip.path)) - round(clip.start * rate)
    if frames < 1:
        raise InputError(f"{clip.path} has no frame at {clip.start:g} s: start earlier")
    return SavedMotion(clip, rate, _fewer(clip.count, frames))


def open_source(clip: DrivingClip, size: int, weights: Path) -> DrivingVideo | SavedMotion:
    """What the ending of `clip.path` says: a motion file, or else a video or folder."""
    return open_motion(clip) if clip.path.suffix.lower() == MOTION_SUFFIX else open_driving(clip, size, weights)


def _fewer(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)
