"""Measures a LoRA's gain on line-art, a style that the model has hardly seen: the same streams without and with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from ..backends.personalive.model import PersonaLive
from ..drawn.landmarker import SIZE
from ..drawn.truth import Style
from ..metrics.pictures import psnr, unit
from .cases import Case, cross_case
from .reenactment import Column, reenact, repeated


@dataclass(frozen=True)
class Adaptation:
    """Mean PSNR of line-art portraits, driven by clips of other people drawn in the model's own style."""

    clips: int
    frames: int  # per clip
    without: float  # dB, without the LoRA
    adapted: float  # dB, with the LoRA
    repeated: float  # dB, baseline: the reference repeated

    @property
    def gain(self) -> float:
        """PSNR with the LoRA minus PSNR without it, in dB."""
        return self.adapted - self.without


def line_case(index: int, frames: int, driven: Style = "photo") -> Case:
    """Cross-reenactment of a line-art portrait; the driving clip is in the style `driven`."""
    return replace(cross_case(index, frames, driven), style="line")


def run_adaptation(
    model: PersonaLive, adapted: PersonaLive, cases: Iterable[Case], size: int = SIZE
) -> tuple[Adaptation, list[Column]]:
    """Mean PSNR over all frames of all cases, `size` pixels a side, and one column of middle frames per case."""
    levels, columns, frames = [], [], 0
    for case in cases:
        reference, driving, truth = case.reference(size), [*case.driving(size)], case.truth(size)
        shown = [np.concatenate([*reenact(each, reference, driving)]) for each in (model, adapted)]
        true, middle, frames = unit(truth.pictures), len(driving) // 2, len(driving)
        pictures = (*shown, repeated(reference, truth))
        levels.append([float(psnr(unit(each), true).mean()) for each in pictures])
        columns.append(Column(reference, driving[middle], truth.pictures[middle], *(each[middle] for each in shown)))
    means = np.mean(levels, axis=0).tolist()
    return Adaptation(len(levels), frames, *means), columns
