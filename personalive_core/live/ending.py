"""The end of a session as an event that any thread may set and any loop await, and the deadline that brings it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable


class Ending:
    """Like asyncio.Event, but of no loop: it is made before a loop is known, and set in a thread."""

    def __init__(self) -> None:
        self._lock, self._set = threading.Lock(), False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def is_set(self) -> bool:
        """Whether it has been set."""
        return self._set

    def set(self) -> None:
        """Wakes all who wait."""
        with self._lock:
            waiting = self._waiting
            self._set, self._waiting = True, []
        for loop, event in waiting:
            with contextlib.suppress(RuntimeError):  # a loop that is closed waits for nothing
                loop.call_soon_threadsafe(event.set)

    async def wait(self) -> None:
        """Returns once it is set."""
        event = asyncio.Event()
        with self._lock:
            if self._set:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()


class Deadline:
    """Calls `action` in a thread, `seconds` after it was set and unless it is called off before."""

    def __init__(self, action: Callable[[], None]) -> None:
        self._action = action
        self._timer: threading.Timer | None = None

    def set(self, seconds: float | None) -> None:
        """Sets it anew; None only calls it off."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        if seconds is not None:
            self._timer = threading.Timer(seconds, self._action)
            self._timer.daemon = True
            self._timer.start()
