"""Driving frames in, animated frames out: motion is extracted, smoothed, filled and streamed, at any length."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import partial
from itertools import islice

import numpy as np
import torch

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import Strengths, extract_later
from ..backends.personalive.sampling import StreamingSampler
from ..backends.personalive.stream import stream, to_reference
from ..backends.personalive.types import Reference, StreamConfig
from ..device import queue_beside, results_behind, working_in
from ..faces.crop import FaceDetector
from ..faces.resize import resized_patches
from ..faces.tracking import CutFrame, TrackOptions, cut_frames
from ..media.ahead import ahead, in_turn
from ..media.video import Frame
from ..modules.schedule import seeded_noise
from ..motion.gaps import fill_missing
from ..motion.smoothing import OneEuroOptions, smooth
from ..motion.types import HybridMotion
from .sharing import FilmMotion


@dataclass(frozen=True)
class MotionOptions:
    """How driving frames become motion."""

    size: int = 512  # pixels a side of the square crop that the motion networks get
    window: int = 4  # frames per network call
    detector: FaceDetector | None = None  # None: no detection; the whole frame is the portrait
    track: TrackOptions = field(default_factory=TrackOptions)
    missing: str = "hold"  # one of motion.gaps.MISSING_POLICIES
    smoothing: OneEuroOptions | None = None  # of head pose and box; None: no smoothing


@dataclass(frozen=True)
class AnimateOptions:
    """How a reference is animated."""

    seed: int = 0
    motion: MotionOptions = field(default_factory=MotionOptions)
    strengths: Strengths = field(default_factory=Strengths)
    config: StreamConfig = field(default_factory=StreamConfig)


@dataclass(frozen=True)
class AnimatedFrame:
    """The result for one driving frame."""

    index: int
    time: Fraction  # of the driving frame, in seconds
    picture: np.ndarray  # [S, S, 3] uint8 RGB
    keyframe: bool  # True if the picture became a historical keyframe
    valid: bool  # False where the missing-face policy filled in the motion
    duration: Fraction | None = None  # of the driving frame, in seconds; None: not known


def driving_motion(
    model: PersonaLive, frames: Iterable[np.ndarray], options: MotionOptions, neutral: HybridMotion | None = None
) -> Iterator[HybridMotion]:
    """Frames [H, W, 3] uint8 RGB -> hybrid motion of the same frames, in pieces of any length.

    `neutral` [1] is the reference's own motion, for the policy "neutral". Raises as `fill_missing` does.
    """
    with closing(_extract(model, frames, options)) as extracted:
        yield from fill_missing(smooth(extracted, options.smoothing), options.missing, neutral)


def film_motion(
    model: PersonaLive, frames: Iterable[Frame], options: MotionOptions, neutral: HybridMotion | None = None
) -> Generator[HybridMotion, None, None]:
    """Like `driving_motion`, from frames with their times: each is smoothed over its own time step."""
    with closing(gappy_motion(model, frames, options)) as smoothed:
        yield from fill_missing(smoothed, options.missing, neutral)


def gappy_motion(
    model: PersonaLive, frames: Iterable[Frame], options: MotionOptions
) -> Generator[HybridMotion, None, None]:
    """Like `film_motion`, but frames without a face are not filled: the same for every reference."""
    if options.smoothing is None:
        with closing(_extract(model, (frame.image for frame in frames), options)) as extracted:
            yield from extracted
        return
    times: deque[Fraction] = deque()  # of the frames that were read, but are not smoothed yet

    def pictures() -> Iterator[np.ndarray]:
        for frame in frames:
            times.append(frame.time)
            yield frame.image

    with closing(_extract(model, pictures(), options)) as extracted:
        yield from smooth(extracted, options.smoothing, iter(times.popleft, None))


def _extract(
    model: PersonaLive, frames: Iterable[np.ndarray], options: MotionOptions
) -> Generator[HybridMotion, None, None]:
    """Motion of each window; boxes are in pixels of the frame, not of the crop. `valid` is False without a face."""
    behind = results_behind(model.device)
    parts = cut_frames(frames, options.detector, options.track)
    if behind and options.detector:
        parts = ahead(parts, options.window)  # faces are found while the device works
    with closing(parts):
        yield from in_turn(_begun(model, parts, options), behind)


def _begun(
    model: PersonaLive, parts: Iterator[CutFrame], options: MotionOptions
) -> Iterator[Callable[[], HybridMotion]]:
    """Begins to extract the motion of one window after the other; each result waits for the device.

    The networks are small: they fill the gaps that the denoising of earlier windows leaves, from a queue of their own.
    """
    queue = None if model.placement else queue_beside(model.device)
    while window := list(islice(parts, options.window)):
        with working_in(queue):
            pictures = resized_patches([part.patch for part in window], options.size, model.device)
            motion = extract_later(model, pictures)
        crops = [(part.crop.left, part.crop.top, part.crop.size / options.size) for part in window]
        yield partial(_in_frame, motion, crops, [part.found for part in window])


def _in_frame(
    read: Callable[[], HybridMotion], crops: list[tuple[float, float, float]], found: list[bool]
) -> HybridMotion:
    """The motion that `read` gives, its boxes moved from the crops (left, top, scale) to the frames."""
    motion = read()
    left, top, scale = torch.tensor(crops).T[..., None]
    box = motion.box * scale + torch.cat([left, top, left, top], 1)
    return replace(motion, box=box, valid=motion.valid & torch.tensor(found))


def animate(
    model: PersonaLive,
    reference: Reference,
    frames: Iterable[Frame],
    options: AnimateOptions = AnimateOptions(),
) -> Iterator[AnimatedFrame]:
    """The whole method: yields one animated frame per driving frame, as soon as it is finished, in constant memory.

    Raises InputError without a driving frame, NumericalError for NaN or black pictures; also as `driving_motion`.
    """
    times: deque[tuple[Fraction, Fraction | None]] = deque()

    def noted() -> Iterator[Frame]:
        for frame in frames:
            times.append((frame.time, frame.duration))
            yield frame

    with closing(film_motion(model, noted(), options.motion, reference.motion)) as motions:
        for frame in animate_motion(model, reference, motions, options):
            time, duration = times.popleft()
            yield replace(frame, time=time, duration=duration)


def animate_film_motion(
    model: PersonaLive, reference: Reference, film: FilmMotion, options: AnimateOptions
) -> Iterator[AnimatedFrame]:
    """Like `animate`, from the motion of a film that `gappy_motion` read before: the same frames to the same bits."""
    motions = fill_missing(film.pieces(HybridMotion), options.motion.missing, reference.motion)
    for frame in animate_motion(model, reference, motions, options):
        time, duration = film.times[frame.index]
        yield replace(frame, time=time, duration=duration)


def animate_motion(
    model: PersonaLive, reference: Reference, motions: Iterable[HybridMotion], options: AnimateOptions
) -> Iterator[AnimatedFrame]:
    """Like `animate`, but from motion that was extracted before; the `time` of each frame is 0."""
    valid: deque[bool] = deque()

    def noted() -> Iterator[HybridMotion]:
        for motion in motions:
            valid.extend(motion.valid.tolist())
            yield motion

    config = options.config
    sampler = StreamingSampler(model, reference, seeded_noise(options.seed), config)
    for emitted in stream(model, sampler, to_reference(noted(), reference, config.lookahead, options.strengths)):
        for i, picture in enumerate(emitted.pictures):
            keyframe = emitted.keyframe is not None and i == 0
            yield AnimatedFrame(emitted.first + i, Fraction(0), picture, keyframe, valid.popleft())
