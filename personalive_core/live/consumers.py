"""Who listens to a live session: each is called with what is made and said, and leaves when it fails."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any

from ..media.picture import Picture
from .types import Made, Settings
from .words import Said

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Consumer:
    """What one listener wants to be called with; None: it does not care."""

    on_frames: Callable[[tuple[Made, ...]], object] | None = None
    on_said: Callable[[str, str, Any], object] | None = None
    on_keyframe: Callable[[int, Picture], object] | None = None
    on_settings: Callable[[Settings], object] | None = None


class Consumers:
    """The listeners of a session. For several threads."""

    def __init__(self) -> None:
        self._lock, self._all = Lock(), tuple[Consumer, ...]()

    def __len__(self) -> int:
        return len(self._all)

    def add(self, consumer: Consumer) -> Callable[[], None]:
        """Adds a listener; what it returns removes it."""
        with self._lock:
            self._all = (*self._all, consumer)
        return lambda: self.remove(consumer)

    def remove(self, consumer: Consumer) -> None:
        """Removes a listener, if it is there."""
        with self._lock:
            self._all = tuple(one for one in self._all if one is not consumer)

    def clear(self) -> None:
        """Removes all."""
        with self._lock:
            self._all = ()

    def frames(self, frames: tuple[Made, ...]) -> None:
        """Tells the frames of a window, and the keyframe among them."""
        self._call("on_frames", frames)
        for frame in frames:
            if frame.keyframe:
                self._call("on_keyframe", frame.number, frame.picture)

    def said(self, said: Said) -> None:
        """Tells a word."""
        self._call("on_said", said.word, said.text, said.values)

    def settings(self, settings: Settings) -> None:
        """Tells the settings that are in effect."""
        self._call("on_settings", settings)

    def _call(self, what: str, *values: object) -> None:
        for consumer in self._all:
            call = getattr(consumer, what)
            if call is None:
                continue
            try:
                call(*values)
            except Exception:  # of anybody's making; the session and the others go on
                _log.exception("A listener of the live session failed, and is not called any more")
                self.remove(consumer)
