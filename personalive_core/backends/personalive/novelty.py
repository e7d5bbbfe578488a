"""Motion novelty over a clip, and the keyframes it leads to, from the facial embedding alone."""

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
    """What the historical keyframe mechanism (section 3.4) sees of each window of a clip."""

    values: tuple[float, ...]  # one for each window: L2 distance of its first frame to the nearest in the bank then
    frames: tuple[int, ...]  # driving frame of each value: the window's first
    keyframes: tuple[int, ...]  # those of `frames` that become keyframes

    @property
    def points(self) -> tuple[tuple[int, float], ...]:
        """(frame, value) of each window."""
        return tuple(zip(self.frames, self.values, strict=True))


def novelty_curve(embedding: Tensor, config: StreamConfig, reference: Tensor | None = None) -> NoveltyCurve:
    """Driving embeddings [F, L, D] without lead-in -> what `StreamingSampler` will measure and choose.

    `reference` [1..K, L, D] holds the reference's embedding and those of fixed keyframes behind it; None takes the
    first driving frame. For the same numbers as in a run give the retargeted embedding, as the sampler gets it.
    Raises InputError when there is no frame.
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
