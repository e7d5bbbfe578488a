"""The time of a run: how much a stage may take in all, how much this call may, and when to save."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from .checkpoint import STATE_FILE

BYTES_A_SECOND = 150e6  # a cautious guess at how fast a checkpoint is written, before the first one was
MOST_KEPT = 0.25  # largest share of a call's minutes that is kept for saving


@dataclass(frozen=True)
class Clock:
    """Seconds since `begun`, with those that the stage had been trained for before."""

    limit: float  # seconds of this call, saving included; 0: none
    planned: float  # seconds of training of the whole stage; 0: none
    before: float  # seconds of training in earlier calls
    begun: float  # time.monotonic() at the call's start
    started: float  # time.monotonic() at the first step

    def trained(self) -> float:
        """Seconds of training of the stage so far."""
        return self.before + time.monotonic() - self.started

    def spent(self) -> float:
        """The share of the planned time that is over; 0 without a plan."""
        return self.trained() / self.planned if self.planned else 0.0

    def done(self) -> bool:
        """Whether the stage has had its planned time."""
        return bool(self.planned) and self.trained() >= self.planned

    def over(self, step: float, saving: float) -> bool:
        """Whether another step of `step` seconds could leave less than `saving` seconds to save within the limit."""
        kept = min(1.5 * saving + 1.0, MOST_KEPT * self.limit)
        return bool(self.limit) and time.monotonic() - self.begun + 1.5 * step + kept > self.limit


def seconds_to_save(folder: Path, parameters: int, last: float) -> float:
    """Seconds that a checkpoint takes: as the `last` did, or by its size, 16 bytes a parameter and the weights."""
    if last:
        return last
    path = folder / STATE_FILE
    size = 2 * path.stat().st_size if path.is_file() else 24 * parameters
    return size / BYTES_A_SECOND
