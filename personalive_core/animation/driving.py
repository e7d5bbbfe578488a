"""Opens the driving video, picture folder or motion file of an animation; checks it before any network loads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from ..backends.personalive.files import yunet_file
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import Reference
from ..errors import InputError
from ..faces.crop import Box, FaceDetector, cut_patch, square_around
from ..faces.detectors import detector_for, used_detector
from ..faces.tracking import TrackOptions
from ..media.ahead import ahead
from ..media.picture import Picture
from ..media.video import Frame, probe, read_frames
from ..motion.files import HYBRID, TEMPLATE_SUFFIXES, MotionFile, MotionKind, part_of, read_kind
from ..motion.smoothing import OneEuroOptions, pose_smoothing, smooth
from ..motion.times import duration_at, time_at
from ..motion.types import MotionT
from .pipeline import AnimatedFrame, AnimateOptions, MotionOptions, animate, animate_motion
from .sharing import FrameTime
from .sheet import thinning_stride, thumbnail

MOTION_SUFFIX = ".safetensors"
DECODED_AHEAD = 4  # frames: a window
MOST_SHOWN = 64  # thumbnails stored at most; far more than the frames in flight, unless faces are missing


@dataclass(frozen=True)
class DrivingClip:
    """The driving file, the part of it to use, and how its faces are found."""

    path: Path  # video, picture folder, or a motion file
    start: float = 0.0  # seconds
    count: int | None = None  # frames; None: all from `start` on
    rate: Fraction | None = None  # frames per second; None: the file's own
    missing: str = "hold"  # one of motion.gaps.MISSING_POLICIES
    smooth: float | None = None  # minimum cutoff of the One-Euro filter in Hz; None: no smoothing
    detector: str = "auto"  # auto: none for square pictures, yunet for others
    choice: str = "largest"  # the face to follow, see `choose_face`
    box: Box | None = None  # the user's crop for every frame, in pixels; replaces the detector
    head_alone: bool = False  # only the head pose is used: a motion file of the other system will do


class Thumbnails:
    """Thumbnails of driving pictures, by frame, for the contact sheet; bounded, however long frames wait for a face.

    If there are too many, every second one is deleted, so that the frames left are multiples of a power of two. The
    finished sheet's evenly spread frames are multiples of a larger power, so their thumbnails are still there. Only a
    keyframe inside a gap may get an earlier frame's picture. One thread may store them while another takes them:
    frames are read ahead.
    """

    def __init__(self, most: int = MOST_SHOWN) -> None:
        self._most, self._pictures, self._lock = most, dict[int, Picture](), Lock()

    def __len__(self) -> int:
        return len(self._pictures)

    def note(self, index: int, image: Picture) -> None:
        """Stores a thumbnail of `image` [H, W, 3] for frame `index`."""
        small = thumbnail(image)
        with self._lock:
            self._pictures[index] = small
            stride = thinning_stride(self._pictures, self._most)
            for skipped in [held for held in self._pictures if held % stride]:
                del self._pictures[skipped]

    def take(self, index: int) -> Picture | None:
        """The thumbnail of frame `index`, or of the nearest earlier frame that has one; None if there is none.

        Call it with rising indices: it deletes all thumbnails before the one it returns.
        """
        with self._lock:
            earlier = [held for held in self._pictures if held <= index]
            for passed in earlier[:-1]:
                del self._pictures[passed]
            return self._pictures[earlier[-1]] if earlier else None


@dataclass(frozen=True, eq=False)
class DrivingVideo:
    """A driving video or picture folder whose first frame could be read."""

    clip: DrivingClip
    rate: Fraction
    count: int | None  # an estimate, for the progress bar
    options: MotionOptions
    has_audio: bool
    detector: str = "none"  # the face detector of `options`
    began: Fraction = Fraction(0)  # time of the first frame that is read, in seconds: where the sound begins

    def read(self) -> Generator[Frame, None, None]:
        """Yields its frames, from `clip.start` on; a thread decodes ahead of the caller."""
        return ahead(read_frames(self.clip.path, self.clip.start, self.clip.count, self.clip.rate), DECODED_AHEAD)

    def animate(
        self, model: PersonaLive, reference: Reference, options: AnimateOptions, shown: Thumbnails | None
    ) -> Iterator[AnimatedFrame]:
        """Yields one animated frame per driving frame; stores the driving pictures in `shown`."""
        with closing(self._noted(shown)) as frames:  # whatever ends it: the thread that decodes ends too
            yield from animate(model, reference, frames, replace(options, motion=self.options))

    def _noted(self, shown: Thumbnails | None) -> Generator[Frame, None, None]:
        with closing(self.read()) as frames:
            for index, frame in enumerate(frames):
                if shown is not None:
                    shown.note(index, frame.image)
                yield frame


@dataclass(frozen=True, eq=False)
class SavedMotion:
    """A motion file instead of a video: no audio, and no pictures for the contact sheet."""

    clip: DrivingClip
    rate: Fraction
    count: int | None
    has_audio: bool = False
    detector: str = "none"
    began: Fraction = Fraction(0)

    def animate(
        self, model: PersonaLive, reference: Reference, options: AnimateOptions, shown: Thumbnails | None
    ) -> Iterator[AnimatedFrame]:
        """Yields one animated frame per driving frame, at its time in the file; `shown` is not used."""
        del shown  # a motion file has no pictures
        part = read_saved(HYBRID, self.clip)
        for frame in animate_motion(model, reference, [part.motion], options):
            time, duration = time_at(part.times, frame.index), duration_at(part.times, frame.index)
            yield replace(frame, time=time, duration=duration)


def always_found(detector: str) -> str:
    """The detector's name where square pictures are cropped to their face too."""
    return "yunet" if detector == "auto" else detector


def find_detector(name: str, picture: Picture, weights: Path) -> FaceDetector | None:
    """The detector for pictures shaped like `picture` [H, W, 3]; None: the whole picture is the portrait.

    Raises WeightsError if YuNet is needed but not in `weights`, InputError if a detector's package is missing.
    """
    problem = (
        f"finding the face in a {picture.shape[1]}x{picture.shape[0]} picture needs YuNet, which is not in {weights}: "
        f'run `personalive download --only detector --weights "{weights}"`, or give the face box by hand'
    )
    return detector_for(name, picture, partial(yunet_file, weights, problem))


def open_driving(clip: DrivingClip, size: int, weights: Path) -> DrivingVideo:
    """Opens the video or picture folder at `clip.path`, for pictures of `size` pixels a side.

    Raises InputError if it cannot be read, ends before `clip.start` or has no pixel in the user's box; otherwise as
    `find_detector`.
    """
    info = probe(clip.path)
    first = next(read_frames(clip.path, clip.start, 1, clip.rate), None)
    if first is None:
        raise InputError(f"{clip.path} has no frame at {clip.start:g} s: start earlier")
    if clip.box:
        cut_patch(first.image, square_around(clip.box))  # refuses a square outside the frames
    rate = clip.rate or info.rate
    left = None if info.duration is None else max(round((info.duration - Fraction(clip.start)) * rate), 1)
    options = MotionOptions(
        size=size,
        detector=None if clip.box else find_detector(clip.detector, first.image, weights),
        track=TrackOptions(choice=clip.choice, manual=clip.box),
        missing=clip.missing,
        smoothing=pose_smoothing(float(rate), clip.smooth),
    )
    detector = "none" if clip.box else used_detector(clip.detector, first.image)
    return DrivingVideo(clip, rate, _fewer(clip.count, left), options, info.has_audio, detector, first.time)


def open_motion(clip: DrivingClip, kind: MotionKind[Any] = HYBRID) -> SavedMotion:
    """Opens the motion file at `clip.path`.

    Raises InputError for any other file, one that ends before `clip.start`, or if `clip.rate` is given.
    """
    if clip.rate is not None:
        raise InputError(f"{clip.path} is a motion file, whose frames have their rate: leave --rate out")
    part = read_saved(kind, clip)
    return SavedMotion(clip, part.rate, len(part.motion))


def read_saved(kind: MotionKind[MotionT], clip: DrivingClip) -> MotionFile[MotionT]:
    """The part of the motion file at `clip.path` that the clip names. Raises as `read_kind` and `part_of` do."""
    return part_of(read_kind(kind, clip.path, clip.head_alone), clip.path, clip.start, clip.count)


def noted_frames(
    frames: Iterable[Frame], times: deque[FrameTime], shown: Thumbnails | None
) -> Generator[Frame, None, None]:
    """Passes `frames` on; notes when each is, and its picture."""
    for index, frame in enumerate(frames):
        times.append((frame.time, frame.duration))
        if shown is not None:
            shown.note(index, frame.image)
        yield frame


def noted_motion(kind: MotionKind[MotionT], clip: DrivingClip, times: deque[FrameTime]) -> MotionT:
    """The motion of a motion file; notes when its frames are. Raises as `read_saved` does."""
    part = read_saved(kind, clip)
    times.extend((time_at(part.times, i), duration_at(part.times, i)) for i in range(len(part.motion)))
    return part.motion


def read_smoothed(
    frames: Iterable[Frame],
    read: Callable[[Iterator[Picture]], Iterable[MotionT]],
    smoothing: OneEuroOptions | None,
) -> Iterator[MotionT]:
    """The motion that `read` gives of the pictures, smoothed by the frames' times; gaps are not filled."""
    times: deque[Fraction] = deque()

    def pictures() -> Iterator[Picture]:
        for frame in frames:
            times.append(frame.time)
            yield frame.image

    def taken() -> Iterator[Fraction]:
        while True:
            yield times.popleft()

    return smooth(read(pictures()), smoothing, taken())


def is_motion(path: Path) -> bool:
    """True if the suffix says that `path` holds motion; templates that are pickles are refused where they are read."""
    return path.suffix.lower() in (MOTION_SUFFIX, *TEMPLATE_SUFFIXES)


def open_source(clip: DrivingClip, size: int, weights: Path) -> DrivingVideo | SavedMotion:
    """Opens `clip.path` according to its suffix: a motion file, otherwise a video or picture folder."""
    return open_motion(clip) if is_motion(clip.path) else open_driving(clip, size, weights)


def _fewer(*counts: int | None) -> int | None:
    return min((count for count in counts if count is not None), default=None)
