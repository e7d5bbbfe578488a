"""How far a motion's expression is from its first, and the plot of it, for systems whose expression is one field."""

from __future__ import annotations

import torch

from ..media.picture import Picture
from .plot import motion_plot
from .types import AnyMotion


def expression_changes(motion: AnyMotion) -> list[tuple[int, float]]:
    """(frame, L2 distance of its `expression` to the first with a face; if no frame has one, to the first)."""
    first = int(torch.argmax(motion.valid.int())) if len(motion) else 0
    expression = motion.tensors()["expression"]
    away = (expression - expression[first : first + 1]).flatten(1).norm(dim=1)
    return list(enumerate(away.tolist()))


def implicit_plot(motion: AnyMotion, rate: float) -> Picture:
    """A plot [H, W, 3] of yaw, pitch, roll and the change of expression over time.

    `rate` is frames per second. Raises InputError without a frame.
    """
    return motion_plot(motion, expression_changes(motion), rate, None, ())
