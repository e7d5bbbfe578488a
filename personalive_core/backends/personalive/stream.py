"""Streams motion to pictures: retargets it, runs the sampler window by window, decodes finished frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from ...errors import InputError, NumericalError
from ...modules.inputs import MotionFeatures
from ...motion.gaps import in_windows
from ...motion.types import FittedMotion, HeadPose, HybridMotion, concat_motion
from .model import PersonaLive
from .motion import Strengths, lead_in, retarget
from .sampling import StreamingSampler, novelty
from .types import LATENT_PIXELS, KeyframeBank, Reference, StreamState

BLACK = 2 / 255  # pictures whose pixels are all darker count as black
NEXT_PRECISION = {torch.float16: "bf16", torch.bfloat16: "fp32"}


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
    InputError if there is no motion, NumericalError for NaN or only black pictures.
    """
    config, size = sampler.config, sampler.reference.latent.shape[-1] * LATENT_PIXELS
    pieces = iter(motions)
    state = resume
    with torch.inference_mode():
        if state is None:
            lead = next(pieces, None)  # `to_reference` yields the lead-in as one piece
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
    # no motion is left: steps without new frames finish those in flight
    while not sampler.drained(state):
        with torch.inference_mode():
            emitted = _advance(model, sampler, state, state.motion.drop(config.lookahead))
        state = emitted.state
        yield emitted


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
    """[F, 3, H, W] in [0, 1] -> [F, H, W, 3] uint8.

    Raises NumericalError for NaN or only black pictures; its advice depends on the networks' `dtype`.
    """
    broken = "NaN" if not bool(pixels.isfinite().all()) else "only black" if bool((pixels < BLACK).all()) else ""
    if broken:
        better = NEXT_PRECISION.get(dtype)
        advice = f"use {better} precision" if better else "check the weights with `personalive check`"
        raise NumericalError(f"the networks gave {broken} in {str(dtype).removeprefix('torch.')}: {advice}")
    return rearrange((pixels * 255).round().byte().cpu().numpy(), "f c h w -> f h w c")
