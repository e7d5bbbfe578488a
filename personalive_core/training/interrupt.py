"""Ctrl-C while training: the step under way ends first, so that what is kept is a whole step's."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def held_interrupts() -> Iterator[Callable[[], bool]]:
    """Gives what tells whether Ctrl-C was pressed; pressed again it raises KeyboardInterrupt at once.

    Outside the main thread, where Python lets nobody listen, it never was.
    """
    pressed: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        _log.warning("this step is finished and kept first; Ctrl-C again stops at once, back to what was kept before")

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
