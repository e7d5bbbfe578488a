"""Streams motion to pictures: retargets it, runs the sampler window by window, decodes finished frames."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...errors import InputError
from ...media.ahead import in_turn
from ...modules.inputs import MotionFeatures
from ...motion.gaps import in_windows
from ...motion.types import FittedMotion, HeadPose, HybridMotion, concat_motion
from ...text import warn_once
from .model import PersonaLive
from .motion import Strengths, lead_in, retarget
from .pictures import Lane, develop, lane_on, to_pictures  # noqa: F401 - callers know the last from here
from .sampling import StreamingSampler, at_hand, novelty
from .types import LATENT_PIXELS, KeyframeBank, Reference, StreamConfig, StreamState

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Emitted:
    """The result of one step of the stream: the state after it, and up to W finished pictures."""

    state: StreamState
    pictures: np.ndarray  # [F, S, S, 3] uint8 RGB; F = 0 while the finished window is of the lead-in
    first: int  # index of pictures[0] among all driving frames
    novelty: float = 0.0  # of the finished window's motion, measured before it may join the bank
    keyframe: np.ndarray | None = None  # [S, S, 3]: pictures[0], if it became a historical keyframe


def to_reference(
    motions: Iterable[HybridMotion],
    reference: Reference,
    frames: int,
    strengths: Strengths = Strengths(),  # noqa: B008
) -> Iterator[HybridMotion]:
    """Yields `frames` lead-in frames (MII), then the retargeted `motions`: the input of `stream`."""
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
    """Retargeted motion, lead-in first -> one picture per driving frame; yields the result of each step.

    `resume` continues from a state of the same reference, seed and configuration; `motions` then begins at driving
    frame `resume.frames`, without a lead-in. To pause, close the iterator and keep the last `Emitted.state`. Raises
    InputError if there is no motion, for motion after a state that reached the driving's end, or for a history that the
    model cannot see; NumericalError for NaN or only black pictures.
    """
    lane = lane_on(sampler.reference.latent.device, model)
    yield from in_turn(_steps(model, sampler, motions, resume or keyframes, lane), lane.behind)


def _steps(
    model: PersonaLive,
    sampler: StreamingSampler,
    motions: Iterable[HybridMotion],
    begin: StreamState | KeyframeBank | None,
    lane: Lane,
) -> Iterator[Callable[[], Emitted]]:
    """Begins one step after the other; each result waits for its pictures. `begin` is the state or the first bank."""
    config, size = sampler.config, sampler.reference.latent.shape[-1] * LATENT_PIXELS
    pieces = iter(motions)
    with torch.inference_mode():
        if isinstance(begin, StreamState):
            state = begin
        else:
            lead = next(pieces, None)  # `to_reference` yields the lead-in as one piece
            if lead is None:
                raise InputError(
                    "the video is empty, or ends before the start asked for: choose a driving with at least one frame"
                )
            state = sampler.start(model.embed_motion(lead, size), begin)
        state = at_hand(state)
    for motion in in_windows(pieces, config.window):
        with torch.inference_mode():
            state, emitted = advance(model, sampler, state, model.embed_motion(motion, size), lane)
        yield emitted
    # no motion is left: steps without new frames finish those in flight
    while not sampler.drained(state):
        with torch.inference_mode():
            state, emitted = advance(model, sampler, state, state.motion.drop(config.lookahead), lane)
        yield emitted


def check_history(model: PersonaLive, config: StreamConfig) -> None:
    """Says once if `model` was not trained with the history of `config`; raises InputError if it cannot see any."""
    if not config.history:
        return
    trained = model.denoising_unet.config
    if trained.chunk_frames:
        raise InputError(
            f"history needs temporal attention over all frames, but these weights attend within chunks of "
            f"{trained.chunk_frames}: use a history of 0, or other weights"
        )
    if trained.history < config.history:
        warn_once(_log, f"history of {config.history} frames: these weights were trained with {trained.history}")


def stream_fitted(
    model: PersonaLive, sampler: StreamingSampler, fitted: FittedMotion, keyframes: KeyframeBank | None = None
) -> Iterator[Emitted]:
    """`stream` for a whole clip: one picture per driving frame, for a lead-in of any length.

    A lead-in shorter than the sampler's lookahead is preceded by frames of the reference's own motion. Of a longer one,
    the extra frames are drawn, but their pictures are dropped.
    """
    lookahead, motion = sampler.config.lookahead, fitted.motion
    if fitted.lead < lookahead:
        motion = concat_motion([*[sampler.reference.motion] * (lookahead - fitted.lead), motion])
    extra = max(fitted.lead - lookahead, 0)
    for emitted in stream(model, sampler, [motion[:lookahead], motion[lookahead:]], keyframes=keyframes):
        dropped = max(extra - emitted.first, 0)
        keyframe = None if dropped else emitted.keyframe  # a keyframe of the lead-in belongs to no driving frame
        pictures, first = emitted.pictures[dropped:], emitted.first - extra + dropped
        yield replace(emitted, pictures=pictures, first=first, keyframe=keyframe)


def advance(
    model: PersonaLive, sampler: StreamingSampler, state: StreamState, motion: MotionFeatures, lane: Lane
) -> tuple[StreamState, Callable[[], Emitted]]:
    """The state after one more step over retargeted `motion` [1, 0..W], and what gives its result.

    It is called in inference mode. Raises InputError for a history that the model cannot see, and NumericalError as
    `stream` does, when the result is asked for.
    """
    check_history(model, sampler.config)
    oldest = state.motion if state.motion.face.shape[1] else motion
    new = float(novelty(state.keyframes, oldest.known[:, :1]).max())
    after, latents = sampler.step(state, motion)
    frames = sampler.finished(after)
    if not frames:
        size = latents.shape[-1] * LATENT_PIXELS
        nothing = Emitted(after, np.empty((0, size, size, 3), np.uint8), 0, new)
        return after, lambda: nothing
    read = develop(model, latents[:, : len(frames)], lane)
    joined = len(after.keyframes) > len(state.keyframes)

    def emitted() -> Emitted:
        pictures = read()
        return Emitted(after, pictures, frames.start, new, pictures[0] if joined else None)

    return after, emitted
