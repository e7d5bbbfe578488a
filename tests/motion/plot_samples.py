"""Motion made up for plots."""

import numpy as np
import torch

from personalive_core.backends.liveportrait.types import ImplicitMotion
from personalive_core.motion.plot import POSE
from personalive_core.motion.types import HeadPose, HybridMotion

COLOURS = {name: colour for name, _, colour in POSE}


LEGEND_BOTTOM = 40  # rows above hold the upper legend


def still(frames, **angles):
    """Motion whose `angles` are constant; all valid, embedding 0."""
    columns = [torch.full((frames,), float(angles.get(name, 0))) for name in ("pitch", "yaw", "roll")]
    pose = HeadPose(torch.stack(columns, 1), torch.zeros(frames, 3), torch.ones(frames, 1))
    valid = torch.ones(frames, dtype=torch.bool)
    return HybridMotion(torch.zeros(frames, 32, 16), torch.zeros(frames, 21, 3), pose, torch.zeros(frames, 4), valid)


def implicit_still(frames, **angles):
    """The same of LivePortrait's motion; expression 0."""
    as_hybrid, points = still(frames, **angles), torch.zeros(frames, 21, 3)
    eyes, lips = torch.full((frames, 2), torch.nan), torch.full((frames, 1), torch.nan)
    return ImplicitMotion(points, points.clone(), as_hybrid.pose, eyes, lips, as_hybrid.box, as_hybrid.valid)


def places(plot, colour):
    """Row and column of the pixels of exactly `colour` below the upper legend."""
    rows, columns = np.nonzero((plot == colour).all(2))
    below = rows >= LEGEND_BOTTOM
    return rows[below], columns[below]
