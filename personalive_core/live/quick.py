"""Motion between captured frames: a window of evenly spaced moments, so that steps need not wait for the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..modules.keypoints import pose_keypoints
from ..motion.gaps import blend
from ..motion.types import HybridMotion
from .figures import USUAL_DRIVING
from .inbox import BROKEN_OFF

_EXACT = 1e-6  # seconds: a moment this close to a captured frame is that frame


@dataclass(frozen=True, eq=False)
class FittedMoment:
    """The motion of one moment of the driving, fitted to the reference."""

    motion: HybridMotion  # [1]
    number: int  # of the driving frame; between two, that of the newer
    time: float  # seconds


def evenly(
    before: FittedMoment | None, frames: Sequence[FittedMoment], count: int, canonical: Tensor
) -> tuple[FittedMoment, ...]:
    """`count` moments, evenly from after `before` to the last of `frames`: its motion is interpolated between these.

    `before` is the last of the window before; None, or if the source broke off since, the time before the first frame
    is a usual frame's. Keypoints are posed from the reference's `canonical` ones [21, 3].
    """
    known = [_before(before, frames), *frames]
    start, step = known[0].time, (frames[-1].time - known[0].time) / count
    return tuple(_at(start + step * (place + 1), known, canonical) for place in range(count))


def _before(before: FittedMoment | None, frames: Sequence[FittedMoment]) -> FittedMoment:
    first = frames[0]
    if before is not None and 0 < first.time - before.time <= BROKEN_OFF:
        return before
    spacing = (frames[-1].time - first.time) / (len(frames) - 1) if len(frames) > 1 else 1 / USUAL_DRIVING
    return FittedMoment(first.motion, first.number, first.time - spacing)


def _at(time: float, known: Sequence[FittedMoment], canonical: Tensor) -> FittedMoment:
    """The moment at `time`, between two of `known`."""
    for moment in known[1:]:
        if abs(time - moment.time) <= _EXACT:
            return moment
    place = next((index for index, moment in enumerate(known) if moment.time > time), len(known) - 1)
    earlier, later = known[max(place - 1, 0)], known[place]
    weight = torch.tensor([(time - earlier.time) / (later.time - earlier.time)])
    path = blend(earlier.motion, later.motion, weight, bool(later.motion.valid))
    motion = replace(path, keypoints=pose_keypoints(canonical, path.pose))
    return FittedMoment(motion, later.number, time)
