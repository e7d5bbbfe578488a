"""What a LoRA brings to portraits in a style that the model has hardly seen: the same streams without and with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..backends.personalive.model import PersonaLive
from ..drawn.landmarker import SIZE
from ..metrics.pictures import psnr, unit
from .cases import Case, cross_case
from .reenactment import Column, reenact, repeated


@dataclass(frozen=True)
class Adaptation:
    """PSNR of drawn portraits that films of other people lead."""

    clips: int
    frames: int  # of each
    without: float  # dB
    adapted: float  # with the LoRA
    repeated: float  # of the reference repeated

    @property
    def gain(self) -> float:
        """What the LoRA adds, in dB."""
        return self.adapted - self.without


def line_case(index: int, frames: int) -> Case:
    """A portrait in line-art, led by the film of a person."""
    return replace(cross_case(index, frames), style="line")


def run_adaptation(model: PersonaLive, adapted: PersonaLive, cases: Iterable[Case]) -> tuple[Adaptation, list[Column]]:
    """Means over all frames of all cases, and the middle frames to look at."""
    levels, columns, frames = [], [], 0
    for case in cases:
        reference, driving, truth = case.reference(SIZE), [*case.driving(SIZE)], case.truth(SIZE)
        shown = [np.concatenate([*reenact(each, reference, driving)]) for each in (model, adapted)]
        true, middle, frames = unit(truth.pictures), len(driving) // 2, len(driving)
        pictures = (*shown, repeated(reference, truth))
        levels.append([float(psnr(unit(each), true).mean()) for each in pictures])
        columns.append(Column(reference, driving[middle], truth.pictures[middle], *(each[middle] for each in shown)))
    means = np.mean(levels, axis=0).tolist()
    return Adaptation(len(levels), frames, *means), columns
