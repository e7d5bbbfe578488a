"""Fusion of signals at inference: what source, driving and history add to a prediction, each with a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass

from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class Fusion:
    """How strongly each signal is followed, beyond those before it; 1 everywhere: no guidance (arXiv 2509.17476).

    Raises InputError for a scale that is no finite number.
    """

    source: float = 1.0
    driving: float = 1.0
    history: float = 1.0

    def __post_init__(self) -> None:
        if not all(map(math.isfinite, astuple(self))):
            raise InputError(f"scales of fusion must be finite numbers, got {astuple(self)}: use 1 for no guidance")


PUBLISHED_SCALES = (2.0, 2.5, 1.0)  # of source, driving and history (arXiv 2509.17476)


def fusion_weights(scales: Fusion, count: int) -> tuple[float, ...]:
    """The weight of each of u, s, d, p in u + a (s - u) + b (d - s) + c (p - d); of the first three without history.

    Weights of predictions rather than of differences, so that scales of 1 give the last one exactly.
    """
    reach = (1.0, scales.source, scales.driving, scales.history)[:count]
    return tuple(here - after for here, after in zip(reach, (*reach[1:], 0.0), strict=True))


def fused(branches: Sequence[Tensor | None], scales: Fusion) -> Tensor:
    """The weighted sum of the predictions u, s, d, p, or of u, s, d; None for one whose weight is 0."""
    weighted = zip(fusion_weights(scales, len(branches)), branches, strict=True)
    first, *rest = (weight * branch for weight, branch in weighted if weight and branch is not None)
    return sum(rest, first)
