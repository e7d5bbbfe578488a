"""Fusion of signals at inference: what source, driving and history add to the velocity, each with a scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from .types import ClipConditions, FusionScales

Velocity = Callable[[Tensor, Tensor, ClipConditions], Tensor]  # (noisy, timestep, conditions), as CanvasTransformer


def fusion_branches(conditions: ClipConditions) -> tuple[ClipConditions, ...]:
    """Nothing; the source; and the driving; and the history, where there is one: each with all before it."""
    plain = conditions.without_history()
    three = (conditions.without_all(), conditions.without_driving(), plain)
    return (*three, conditions) if conditions.history else three


def fused(branches: Sequence[Tensor], scales: FusionScales) -> Tensor:
    """u + a (s - u) + b (d - s) + c (p - d) of the velocities u, s, d, p; of three, without the last term.

    Written as one weight for each velocity, so that scales of 1 give the last one exactly.
    """
    reach = (1.0, scales.source, scales.driving, scales.history)[: len(branches)]
    weights = (here - after for here, after in zip(reach, (*reach[1:], 0.0), strict=True))
    first, *rest = (weight * branch for weight, branch in zip(weights, branches, strict=True))
    return sum(rest, first)


def fused_velocity(
    velocity: Velocity, noisy: Tensor, timestep: Tensor, conditions: ClipConditions, scales: FusionScales
) -> Tensor:
    """The fused velocity of `noisy` [B, F, C, h, w] at `timestep` [B]: four calls, three without history."""
    return fused([velocity(noisy, timestep, branch) for branch in fusion_branches(conditions)], scales)
