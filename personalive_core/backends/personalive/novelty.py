"""Motion novelty of a clip and the keyframes that follow from it, computed from facial embeddings alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from ...motion.gaps import lerp
from .sampling import is_new, novelty, remember
from .types import KeyframeBank, StreamConfig


@dataclass(frozen=True)
class NoveltyCurve:
    """Motion novelty of each window of a clip, and the keyframes of the historical keyframe mechanism (section 3.4)."""

    values: tuple[float, ...]  # per window: L2 distance of its first frame to the nearest keyframe in the bank
    frames: tuple[int, ...]  # per window: its first driving frame
    keyframes: tuple[int, ...]  # those of `frames` that become keyframes

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """(frame, value) of each window."""
        return tuple(zip(self.frames, self.values, strict=True))


def novelty_curve(embedding: Tensor, config: StreamConfig, reference: Tensor | None = None) -> NoveltyCurve:
    """Driving embeddings [F, L, D] without lead-in -> the novelty and keyframes that `StreamingSampler` will find.

    `reference` [1..K, L, D] holds the reference's embedding, then those of fixed keyframes; None: the first driving
    frame's embedding. For the same numbers as in a run, pass retargeted embeddings, as the sampler gets them.
    Raises InputError if there is no frame.
    """
    if not len(embedding):
        raise InputError("the motion has no frame to measure novelty of: extract it from at least one driving frame")
    reference = embedding[:1] if reference is None else reference
    steps = torch.linspace(0, 1, config.lookahead + 1)[:-1, None, None]
    path = torch.cat([lerp(reference[:1], embedding[:1], steps), embedding])  # the lead-in's windows count as chunks
    bank = KeyframeBank(reference[None], ())
    values = []
    for chunk, first in enumerate(path[:: config.window]):
        motion = first[None, None]
        values.append(float(novelty(bank, motion)))
        if is_new(bank, chunk, motion, config):
            bank = remember(bank, motion, (), chunk)
    lead = config.windows - 1
    frames = range(0, len(embedding), config.window)
    keyframes = tuple(frames[chunk - lead] for chunk in bank.chunks if chunk >= lead)
    return NoveltyCurve(tuple(values[lead:]), tuple(frames), keyframes)
