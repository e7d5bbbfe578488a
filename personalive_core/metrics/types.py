"""What a measure is: the frames that it sees, the numbers that it reads of them, and the figure made of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .pictures import Numbers, Pictures

MetricTask = Literal["self", "cross"]
Best = Literal["least", "most", "one", "none"]  # which value is best; "none": nothing can be better or worse
TASKS: tuple[MetricTask, ...] = ("self", "cross")


@dataclass(frozen=True, eq=False)
class FilmWindow:
    """Consecutive frames of a result, and of the film beside it: the truth (self) or the driving (cross)."""

    first: int  # number of its first frame in the film
    result: Pictures  # [F, H, W, 3]
    beside: Pictures  # [F, h, w, 3]
    reference: Pictures | None = None  # [1, h, w, 3]
    before: tuple[Pictures, Pictures] | None = None  # the last frame of the window before, [1, ...] of both

    def __len__(self) -> int:
        return len(self.result)


Reader = Callable[[FilmWindow], Numbers]  # one row a frame, [F, ...]; NaN where nothing was seen


@dataclass(frozen=True)
class Origin:
    """The network behind a figure: who it is, where its weights came from, their hash and licence."""

    network: str = "none"
    source: str = ""
    sha256: str = ""  # empty without weights
    licence: str = ""


@dataclass(frozen=True, eq=False)
class Reading:
    """A figure of one film: its value, the same of each frame if it has one, and why the value is NaN if it is."""

    value: float
    frames: Numbers | None = None  # [F], NaN where a frame has none
    why: str = ""


@dataclass(frozen=True, eq=False)
class Metric:
    """One row of the table. `reader` names whose numbers `finish` (of a film) or `pooled` (of all films) takes."""

    key: str  # in JSON
    title: str  # in tables
    wanted: Best
    reader: str = ""
    finish: Callable[[Numbers], Reading] | None = None
    pooled: Callable[[Sequence[Numbers]], Reading] | None = None
    origin: Origin = Origin()
    missing: str = ""  # why there is no figure; then the four above do not count
    digits: int = 3


def averaged(frames: Numbers) -> Reading:
    """The mean over the frames [F] that are not NaN."""
    seen = np.isfinite(frames)
    if not seen.any():
        return Reading(float("nan"), frames, "no frame could be read (no face found?)")
    return Reading(float(frames[seen].mean()), frames)
