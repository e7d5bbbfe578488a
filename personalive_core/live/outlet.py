"""Results on their way out: each frame with its place in its window, encoded once for all who send it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from .pictures import encode_jpeg
from .types import Made

USUAL_SPACING = 1 / 25  # seconds, where two frames do not tell it
_PAUSE = 2.0  # seconds: two windows that are further apart say nothing about their frames' spacing


@dataclass(frozen=True, eq=False)
class Still:
    """One result frame as it goes out."""

    made: Made
    index: int  # in its window
    count: int  # frames of its window
    spacing: float  # seconds from one of its frames to the next

    @cached_property
    def jpeg(self) -> bytes:
        """The picture as a JPEG, encoded once however many ask for it."""
        return encode_jpeg(self.made.picture)


OnWindow = Callable[[tuple[Still, ...]], None]


class Outlet:
    """Between a LiveSession, which marks its results if that is asked for, and all who show them.

    Listeners are called in the session's worker thread and must not block.
    """

    def __init__(self, session: Any) -> None:  # noqa: ANN401 - a LiveSession, or what has its methods
        self.latest: Still | None = None
        self._end: float | None = None  # time of the newest frame
        self._lock = threading.Lock()
        self._listeners: list[OnWindow] = []
        self._remove = session.subscribe(on_frames=self._made)

    def listen(self, on_window: OnWindow) -> Callable[[], None]:
        """Calls `on_window` with every window's frames from now on; returns a function that ends it."""
        with self._lock:
            self._listeners.append(on_window)

        def leave() -> None:
            with self._lock, contextlib.suppress(ValueError):
                self._listeners.remove(on_window)

        return leave

    def close(self) -> None:
        """Lets go of the session and of all who listened."""
        self._remove()
        with self._lock:
            self._listeners.clear()
        self.latest = None

    def _made(self, frames: tuple[Made, ...]) -> None:
        if not frames:
            return
        spacing = frame_spacing([frame.time for frame in frames], self._end)
        self._end = frames[-1].time
        window = tuple(Still(made, index, len(frames), spacing) for index, made in enumerate(frames))
        self.latest = window[-1]
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            listener(window)


def frame_spacing(times: Sequence[float], before: float | None) -> float:
    """Seconds between the frames of a window: since the one `before` it, else among themselves, else the usual."""
    if before is not None and 0 < times[-1] - before < _PAUSE:
        return (times[-1] - before) / len(times)
    if len(times) > 1 and 0 < times[-1] - times[0] < _PAUSE:
        return (times[-1] - times[0]) / (len(times) - 1)
    return USUAL_SPACING
