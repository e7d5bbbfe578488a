"""What the parts of the live connection use of the hub that holds them together."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from .ending import Ending
from .outlet import Outlet
from .types import Captured

_T = TypeVar("_T")


class HubParts(Protocol):
    """See server.LiveHub."""

    session: Any  # a LiveSession
    source: str  # page, camera or film
    outlet: Outlet
    closed: Ending

    def in_thread(self, function: Callable[..., _T], *arguments: Any) -> Awaitable[_T]:  # noqa: ANN401
        """Runs a function beside the event loop. Raises ConnectionResetError after the end."""

    def plain(self, error: BaseException | str) -> str:
        """An error's sentence for the page, which names no folder of this machine."""

    def change(self, fields: Mapping[str, Any]) -> None:
        """Changes the settings that a `set` names. Raises InputError for a value that cannot be."""

    def record(self, what: str | None, sound: bool) -> None:
        """Records `what`, one of record.RECORDED; None ends it, and `saved` is told once its film is there."""

    def rate(self) -> float:
        """Driving frames a second that are wanted of the page."""

    def snapshot(self) -> None:
        """Saves the newest result frame."""

    def offer(self, captured: Captured) -> None:
        """A driving frame."""

    def hear(self, time: float, samples: NDArray[np.float32], rate: int) -> None:
        """Sound [C, n] of the microphone, on the clock of the driving frames."""

    def finish(self, why: str, text: str = "") -> None:
        """Ends the session, and tells the page why."""
