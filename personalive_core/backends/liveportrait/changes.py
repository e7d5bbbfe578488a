"""How far the expression of LivePortrait's motion is from its first, and the plot of it."""

from __future__ import annotations

import torch

from ...media.picture import Picture
from ...motion.plot import motion_plot
from .types import ImplicitMotion


def expression_changes(motion: ImplicitMotion) -> list[tuple[int, float]]:
    """(frame, L2 distance of its expression to that of the first frame with a face; if none has one, to the first)."""
    first = int(torch.argmax(motion.valid.int())) if len(motion) else 0
    away = (motion.expression - motion.expression[first : first + 1]).flatten(1).norm(dim=1)
    return list(enumerate(away.tolist()))


def implicit_plot(motion: ImplicitMotion, rate: float) -> Picture:
    """A plot [H, W, 3] of yaw, pitch, roll and the change of expression over time.

    `rate` is frames per second. Raises InputError without a frame.
    """
    return motion_plot(motion, expression_changes(motion), rate, None, ())
