"""The stages composed: driving frames in, animated frames out, any length, a window at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from .backends.personalive.motion import Strengths, extract_motion, lead_in, retarget
from .errors import InputError, NumericalError
from .faces.crop import FaceDetector
from .faces.tracking import TrackOptions, crop_frames
from .media.tensors import to_signed
from .media.video import Frame
from .model import LATENT_PIXELS, PersonaLive
from .modules.inputs import MotionFeatures
from .modules.schedule import seeded_noise
from .motion.gaps import fill_missing, in_windows
from .motion.smoothing import OneEuroOptions, smooth
from .motion.types import FittedMotion, HeadPose, HybridMotion, concat
from .sampling import StreamingSampler, novelty
from .types import KeyframeBank, Reference, StreamConfig, StreamState

BLACK = 2 / 255  # a picture with no brighter pixel is black
NEXT_PRECISION = {torch.float16: "bf16", torch.bfloat16: "fp32"}


@dataclass(frozen=True)
class MotionOptions:
    """How driving frames become motion."""

    size: int = 512  # pixels a side of the picture that the extractor and the encoder cut from
    window: int = 4  # frames per network call
    detector: FaceDetector | None = None  # None: the whole frame is the portrait (online geometry)
    track: TrackOptions = field(default_factory=TrackOptions)
    missing: str = "hold"  # one of motion.MISSING_POLICIES
    smoothing: OneEuroOptions | None = None


@dataclass(frozen=True)
class AnimateOptions:
    """How a reference is animated."""

    seed: int = 0
    motion: MotionOptions = field(default_factory=MotionOptions)
    strengths: Strengths = field(default_factory=Strengths)
    config: StreamConfig = field(default_factory=StreamConfig)


@dataclass(frozen=True)
class Emitted:
    """What one step of the stream gives: the state after it, and up to W finished pictures."""

    state: StreamState
    pictures: np.ndarray  # [F, S, S, 3] uint8 RGB; none while the lead-in leaves the window
    first: int  # index of pictures[0] among all driving frames
    novelty: float = 0.0  # distance of the window's motion to the nearest in the bank, as it was before the step
    keyframe: np.ndarray | None = None  # [S, S, 3] the picture, if any, that became a historical keyframe: the first


@dataclass(frozen=True)
class AnimatedFrame:
    """One driving frame's result."""

    index: int
    time: Fraction  # the driving frame's, in seconds
    picture: np.ndarray  # [S, S, 3] uint8 RGB
    keyframe: bool  # became a historical keyframe
    valid: bool  # False where the missing-face policy filled in the motion


def driving_motion(
    model: PersonaLive, frames: Iterable[np.ndarray], options: MotionOptions, neutral: HybridMotion | None = None
) -> Iterator[HybridMotion]:
    """Frames [H, W, 3] uint8 -> motion of as many frames, in pieces; `neutral` is for the policy of that name."""
    return fill_missing(smooth(_extract(model, frames, options), options.smoothing), options.missing, neutral)


def _extract(model: PersonaLive, frames: Iterable[np.ndarray], options: MotionOptions) -> Iterator[HybridMotion]:
    """Motion with boxes in the frame, not in the crop; frames without a detected face are marked."""
    cropped = crop_frames(frames, options.size, options.detector, options.track)
    while window := list(islice(cropped, options.window)):
        motion = extract_motion(model, to_signed(np.stack([item.picture for item in window])))
        crops = [item.crop for item in window]
        left, top, scale = torch.tensor([(c.left, c.top, c.size / options.size) for c in crops]).T[..., None]
        box = motion.box * scale + torch.cat([left, top, left, top], 1)
        yield replace(motion, box=box, valid=motion.valid & torch.tensor([item.found for item in window]))


def to_reference(
    motions: Iterable[HybridMotion],
    reference: Reference,
    frames: int,
    strengths: Strengths = Strengths(),  # noqa: B008
) -> Iterator[HybridMotion]:
    """Retargeted motion behind `frames` lead-in frames (MII): what `stream` takes."""
    first: HeadPose | None = None
    for motion in motions:
        if not len(motion):
            continue
        start = first is None
        first = first or motion.pose[:1]
        motion = retarget(motion, reference, first, strengths)  # noqa: PLW2901 - the same frames
        if start:
            yield lead_in(reference, motion[:1], frames)
        yield motion


def stream(
    model: PersonaLive,
    sampler: StreamingSampler,
    motions: Iterable[HybridMotion],
    *,
    keyframes: KeyframeBank | None = None,
    resume: StreamState | None = None,
) -> Iterator[Emitted]:
    """Retargeted motion, lead-in first, to pictures; as many pictures as frames after the lead-in.

    `resume` goes on from a state of the same reference, seed and configuration: `motions` then begins at driving frame
    `resume.frames`, without a lead-in. Close the iterator to stop: the last state is all there is to keep.
    """
    config, size = sampler.config, sampler.reference.latent.shape[-1] * LATENT_PIXELS
    pieces = iter(motions)
    state = resume
    with torch.inference_mode():
        if state is None:
            lead = next(pieces, None)
            if lead is None:
                raise InputError(
                    "the video is empty, or ends before the start asked for: choose a driving with at least one frame"
                )
            state = sampler.start(model.embed_motion(lead, size), keyframes)
    for motion in in_windows(pieces, config.window):
        with torch.inference_mode():
            emitted = _advance(model, sampler, state, model.embed_motion(motion, size))
        state = emitted.state
        yield emitted
    while not sampler.drained(state):
        with torch.inference_mode():
            emitted = _advance(model, sampler, state, state.motion.drop(config.lookahead))
        state = emitted.state
        yield emitted


def stream_fitted(
    model: PersonaLive, sampler: StreamingSampler, fitted: FittedMotion, keyframes: KeyframeBank | None = None
) -> Iterator[Emitted]:
    """`stream` for a whole clip: as many pictures as driving frames, whatever the length of the lead-in.

    A lead-in shorter than the frames in flight waits in the reference's own pose; of a longer one the rest is drawn
    and dropped.
    """
    lookahead, motion = sampler.config.lookahead, fitted.motion
    if fitted.lead < lookahead:
        motion = concat([*[sampler.reference.motion] * (lookahead - fitted.lead), motion])
    extra = max(fitted.lead - lookahead, 0)
    for emitted in stream(model, sampler, [motion[:lookahead], motion[lookahead:]], keyframes=keyframes):
        dropped = max(extra - emitted.first, 0)
        keyframe = None if dropped else emitted.keyframe  # one of the lead-in's is no driving frame's
        pictures, first = emitted.pictures[dropped:], emitted.first - extra + dropped
        yield replace(emitted, pictures=pictures, first=first, keyframe=keyframe)


def _advance(model: PersonaLive, sampler: StreamingSampler, state: StreamState, motion: MotionFeatures) -> Emitted:
    new = float(novelty(state.keyframes, state.motion.then(motion).face[:, :1]).max())
    after, latents = sampler.step(state, motion)
    frames = sampler.finished(after)
    if not frames:
        size = latents.shape[-1] * LATENT_PIXELS
        return Emitted(after, np.empty((0, size, size, 3), np.uint8), 0, new)
    pictures = to_pictures(model.decode(latents[:, : len(frames)])[0], model.dtype)
    joined = len(after.keyframes) > len(state.keyframes)
    return Emitted(after, pictures, frames.start, new, pictures[0] if joined else None)


def to_pictures(pixels: Tensor, dtype: torch.dtype) -> np.ndarray:
    """[F, 3, H, W] in [0, 1] -> [F, H, W, 3] uint8; NumericalError where the networks, run in `dtype`, broke down."""
    broken = "NaN" if not bool(pixels.isfinite().all()) else "only black" if bool((pixels < BLACK).all()) else ""
    if broken:
        better = NEXT_PRECISION.get(dtype)
        advice = f"use {better} precision" if better else "check the weights with `personalive check`"
        raise NumericalError(f"the networks gave {broken} in {str(dtype).removeprefix('torch.')}: {advice}")
    return rearrange((pixels * 255).round().byte().cpu().numpy(), "f c h w -> f h w c")


def animate(
    model: PersonaLive,
    reference: Reference,
    frames: Iterable[Frame],
    options: AnimateOptions = AnimateOptions(),
) -> Iterator[AnimatedFrame]:
    """The whole method: one animated frame for each driving frame, as soon as it is finished, in flat memory."""
    times: deque[Fraction] = deque()

    def pictures() -> Iterator[np.ndarray]:
        for frame in frames:
            times.append(frame.time)
            yield frame.image

    motions = driving_motion(model, pictures(), options.motion, reference.motion)
    for frame in animate_motion(model, reference, motions, options):
        yield replace(frame, time=times.popleft())


def animate_motion(
    model: PersonaLive, reference: Reference, motions: Iterable[HybridMotion], options: AnimateOptions
) -> Iterator[AnimatedFrame]:
    """`animate` from motion that was extracted before; the frames' times are left 0."""
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
