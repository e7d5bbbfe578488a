"""Values of a live session: captured and made frames, what a person may change, what a system answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, field
from typing import Any, Protocol

from ..backends.personalive.motion import Strengths
from ..errors import InputError, PersonaLiveError
from ..faces.crop import choose_face
from ..media.picture import Picture
from ..motion.smoothing import pose_smoothing

QUALITY, QUICK = "quality", "quick"
MODES = (QUALITY, QUICK)


class DeviceTakenError(PersonaLiveError):
    """A performer lost the device to something else: what it did is done again once the gate is open."""


@dataclass(frozen=True, eq=False)
class Captured:
    """One driving frame."""

    picture: Picture  # [H, W, 3] uint8 RGB
    number: int  # rises from frame to frame; frames that were replaced leave gaps
    time: float  # seconds, on the clock of whoever captured it


@dataclass(frozen=True, eq=False)
class Made:
    """One result frame. Number and time are those of the driving frame whose motion it shows."""

    picture: Picture  # [S, S, 3] uint8 RGB
    number: int  # of a frame between two captured ones: that of the newer
    time: float  # seconds, on the clock of `Captured.time`; interpolated where the motion was
    window: int  # counts the windows that were finished
    valid: bool = True  # False: no face was found, and the motion was held
    keyframe: bool = False  # it became a historical keyframe
    novelty: float = 0.0  # of its window's motion


@dataclass(frozen=True)
class Settings:
    """What a person may change while a session runs. Raises InputError for a value that cannot be."""

    strengths: Strengths = field(default_factory=Strengths)
    mode: str = QUALITY  # quality: windows of captured frames; quick: motion between them is interpolated
    smoothing: float | None = None  # minimum cutoff of the One-Euro filter in Hz; None: no smoothing
    face: str = "largest"  # which face is followed, see faces.crop.choose_face
    mark: bool = False  # a visible mark on every result that says it is generated

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise InputError(f"a live mode is one of {', '.join(MODES)}, not {self.mode!r}: choose one of these")
        if not all(math.isfinite(value) for value in astuple(self.strengths)):
            raise InputError(f"strengths are finite numbers, not {self.strengths}: correct them")
        choose_face((), self.face, None)
        pose_smoothing(1.0, self.smoothing)


@dataclass(frozen=True, eq=False)
class Performed:
    """The result of one step."""

    state: Any  # the performer's own value, for the next step
    frames: tuple[Made, ...] = ()  # none while the first windows are in flight
    faces: int = 1  # faces that the newest driving frame shows
    found: bool = True  # the followed face is in the newest driving frame
    keyframes: int = 0  # historical keyframes in the bank, without the reference


class Performer(Protocol):
    """A system that animates one reference live. Its state is a value: a step that failed can be taken again."""

    @property
    def window(self) -> int:
        """Result frames of a step; in quality mode also the driving frames it takes."""

    @property
    def size(self) -> int:
        """Pixels a side of the result."""

    @property
    def portrait(self) -> Picture:
        """The reference [S, S, 3], shown until the first result."""

    def begin(self) -> Any:  # noqa: ANN401 - the performer's own value
        """The state before the first step."""

    def perform(self, state: Any, frames: Sequence[Captured], settings: Settings) -> Performed:  # noqa: ANN401
        """One step over 1..W new driving frames in quality mode, any number in quick mode.

        Raises DeviceTakenError if something else needs the device, here and in `with_reference`.
        """

    def calibrated(self, state: Any) -> Any:  # noqa: ANN401
        """The state from which the next frame's pose is the neutral one ("look straight")."""

    def with_reference(self, picture: Picture) -> Performer:
        """The same system with another reference, any picture [H, W, 3]. Raises FaceError if it shows no face."""
