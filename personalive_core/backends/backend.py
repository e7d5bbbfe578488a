"""What a system answers: a portrait is read once, the driving in pieces, and pictures come out, one for each frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

from ..media.picture import Picture
from ..motion.types import AnyMotion

PortraitT = TypeVar("PortraitT")
SystemMotionT = TypeVar("SystemMotionT", bound=AnyMotion)


class Backend(Protocol[PortraitT, SystemMotionT]):
    """One system with its loaded networks and options."""

    def portrait(self, picture: Picture) -> PortraitT:
        """What animation needs of a reference picture [H, W, 3]. Raises PersonaLiveError for a bad one."""

    def read(self, frames: Iterable[Picture]) -> Iterator[SystemMotionT]:
        """The motion of driving frames [H, W, 3] in pieces, as many frames as come in; some may not be `valid`."""

    def animate(self, portrait: PortraitT, motions: Iterable[SystemMotionT]) -> Iterator[Picture]:
        """One picture [H, W, 3] for each frame of `motions`, whose missing faces are filled, at any length."""
