"""Paces results out: a window's frames arrive at once and are shown one after another, with a bounded wait."""

from __future__ import annotations

import threading
from collections import deque

from .outlet import Still

_MOST = 2  # windows that wait; older ones go
_HURRY = 0.95  # of the spacing, where a window waits for the one before it: delay never adds up


class Paced:
    """Frames with the times at which each is due; times in seconds on the caller's clock. Any thread may call it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, Still]] = deque()
        self._end = 0.0  # when the last frame has been shown for its time

    def put(self, window: tuple[Still, ...], now: float) -> None:
        """Adds a window that arrived `now`: it follows the one before, which it hurries, and waits a frame at most."""
        if not window:
            return
        with self._lock:
            spacing = window[0].spacing
            start = max(now, min(self._end, now + spacing))
            step = spacing * _HURRY if start > now else spacing
            early = deque((min(due, start), still) for due, still in self._waiting)
            early.extend((start + still.index * step, still) for still in window)
            newest = list(dict.fromkeys(still.made.window for _, still in early))[-_MOST:]
            self._waiting = deque((due, still) for due, still in early if still.made.window in newest)
            self._end = start + len(window) * step

    def take(self, now: float) -> Still | None:
        """The newest frame that is due; it and all before it are gone then. None: nothing new."""
        found = None
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now:
                found = self._waiting.popleft()[1]
        return found

    def due(self) -> float | None:
        """When the next frame is due; None while none waits."""
        with self._lock:
            return self._waiting[0][0] if self._waiting else None
