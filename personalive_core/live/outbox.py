"""What waits to be sent to the page: words in their order, of pictures only the newest that there is credit for."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from ..media.picture import Picture
from .outlet import Still
from .protocol import Message

CROWDED = 64  # words that wait: whoever causes more waits too
_MOST = 256  # words at most; then the oldest go
Window = tuple[Still, ...]


@dataclass(frozen=True, eq=False)
class Pictured:
    """A message whose picture is made small and encoded when it is sent, if it still is."""

    message: Message
    picture: Picture


class Outbox:
    """Used by the event loop alone; its size is bounded however slow the page is."""

    def __init__(self, credit: int) -> None:
        """`credit`: windows that may be on their way without having been shown."""
        self._credit = credit
        self._words: deque[Message | Pictured] = deque(maxlen=_MOST)
        self._window: Window | None = None
        self._driving: Pictured | None = None
        self._open: set[int] = set()  # windows on their way
        self._filled, self._room = asyncio.Event(), asyncio.Event()
        self._room.set()

    def say(self, message: Message | Pictured) -> None:
        """Will be sent after what was said before."""
        self._words.append(message)
        if len(self._words) >= CROWDED:
            self._room.clear()
        self._filled.set()

    async def room(self) -> None:
        """Returns when fewer than CROWDED words wait."""
        await self._room.wait()

    def show(self, window: Window) -> int:
        """Will be sent unless a newer window comes before; returns the frames that it takes the place of."""
        replaced = len(self._window or ())
        self._window = window
        self._filled.set()
        return replaced

    def drive(self, driving: Pictured) -> None:
        """Will be sent unless a newer one comes before."""
        self._driving = driving
        self._filled.set()

    def shown(self, window: int) -> None:
        """The page is done with this window, and with all before it."""
        self._open = {other for other in self._open if other > window}
        self._filled.set()

    async def next(self) -> Message | Window | Pictured:
        """What is sent next; words come first."""
        while True:
            if self._words:
                word = self._words.popleft()
                if len(self._words) < CROWDED:
                    self._room.set()
                return word
            if self._window and len(self._open) < self._credit:
                window, self._window = self._window, None
                self._open.add(window[0].made.window)
                return window
            if self._driving:
                driving, self._driving = self._driving, None
                return driving
            self._filled.clear()
            await self._filled.wait()
