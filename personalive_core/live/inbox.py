"""Where driving frames wait for the next step: at most one window, spread evenly in time; the newest always stays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock

from .types import Captured

BROKEN_OFF = 2.0  # seconds without a frame after which those before belong to another scene


@dataclass(frozen=True, eq=False)
class Waiting:
    """A driving frame that waits, or was taken."""

    frame: Captured
    arrived: float  # on the session's clock


class Inbox:
    """Holds driving frames, at most `most` of them; what is replaced by newer ones is counted. For several threads.

    A slow performer so gets frames that are spread over the time since it took the last, and none older than `reach`.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._held: tuple[Waiting, ...] = ()
        self._taken: float | None = None  # time of the newest frame that was taken
        self._seen: Captured | None = None  # the last that was offered
        self._replaced = 0

    @property
    def replaced(self) -> int:
        """Frames that newer ones have replaced."""
        return self._replaced

    def __len__(self) -> int:
        return len(self._held)

    def offer(self, frame: Captured, arrived: float = 0.0, reach: float | None = None) -> None:
        """Adds a frame. When more wait than fit, it replaces one that is over `reach` seconds older, else `one_less`.

        What waits is dropped if the source broke off, or began anew: then number or time do not rise.
        """
        with self._lock:
            last, self._seen = self._seen, frame
            held = self._held
            if last is not None and (frame.number <= last.number or frame.time <= last.time):
                held, self._taken = (), None
            elif last is not None and frame.time - last.time > BROKEN_OFF:
                held = ()
            held = (*held, Waiting(frame, arrived))
            if len(held) > self._most:
                is_old = reach is not None and frame.time - held[0].frame.time > reach
                held = held[1:] if is_old else one_less(held, self._taken)
            self._replaced += len(self._held) + 1 - len(held)
            self._held = held

    def take(self, count: int, span: float = 0.0) -> tuple[Waiting, ...]:
        """All frames that wait; none unless there are `count`, the newest `span` seconds after those taken before."""
        with self._lock:
            held = self._held
            if len(held) < count or (self._taken is not None and held[-1].frame.time - self._taken < span):
                return ()
            self._held, self._taken = (), held[-1].frame.time
            return held

    def clear(self) -> None:
        """Drops what waits; it does not count as replaced."""
        with self._lock:
            self._held = ()


def one_less(held: Sequence[Waiting], since: float | None) -> tuple[Waiting, ...]:
    """All but one: the one without which the largest gap it leaves is smallest; never the newest.

    Gaps are counted from `since`, the time of the frame before these; None: from the first.
    """
    times = [one.frame.time for one in held]
    before = [times[0] if since is None else since, *times]
    gaps = [before[place + 2] - before[place] for place in range(len(held) - 1)]
    drop = gaps.index(min(gaps))
    return (*held[:drop], *held[drop + 1 :])
