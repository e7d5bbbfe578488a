"""Fusion of signals at inference: what source, driving and history add to the velocity, each with a scale."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ...modules.fusion import fused
from .types import ClipConditions, FusionScales

Velocity = Callable[[Tensor, Tensor, ClipConditions], Tensor]  # (noisy, timestep, conditions), as CanvasTransformer


def fusion_branches(conditions: ClipConditions) -> tuple[ClipConditions, ...]:
    """Nothing; the source; and the driving; and the history, where there is one: each with all before it."""
    plain = conditions.without_history()
    three = (conditions.without_all(), conditions.without_driving(), plain)
    return (*three, conditions) if conditions.history else three


def fused_velocity(
    velocity: Velocity, noisy: Tensor, timestep: Tensor, conditions: ClipConditions, scales: FusionScales
) -> Tensor:
    """The fused velocity of `noisy` [B, F, C, h, w] at `timestep` [B]: four calls, three without history."""
    return fused([velocity(noisy, timestep, branch) for branch in fusion_branches(conditions)], scales)
