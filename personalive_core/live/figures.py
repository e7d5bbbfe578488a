"""The figures of a live session, from what its steps and its page told in the last while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import ceil

from ..backends.personalive.types import STREAM

KEPT_STEPS, KEPT_SHOWN = 64, 200
RECENT = 5.0  # seconds over which result frames are counted, at least
# driving frames a second: asked for at most, at least, and before it is known what can be taken
MOST_DRIVING, LEAST_DRIVING, USUAL_DRIVING = 60.0, 2.0, 25.0
IN_FLIGHT = STREAM.windows  # steps until a window is finished


@dataclass(frozen=True)
class Figures:
    """What a session does at present; None: not known yet. Times in seconds."""

    fps: float  # result frames a second
    step_p50: float | None  # time of a step
    step_p95: float | None
    period: float | None  # time from one step to the next
    rate: float  # driving frames a second that are wanted from now on
    replaced: int  # driving frames that newer ones replaced, since the start
    waiting: int  # driving frames that wait for the next step
    keyframes: int  # historical keyframes, without the reference
    server_delay: float | None  # from a driving frame's arrival to its result
    delay_p50: float | None  # from capture to display, as the page tells it
    delay_p95: float | None
    shown: int  # result frames that the page displayed, since the start
    dropped: int  # result frames that arrived there and were never displayed
    steps: int  # taken since the start


@dataclass(frozen=True)
class StepTaken:
    """One step."""

    ended: float  # on the session's clock
    seconds: float
    frames: int  # result frames
    delay: float | None  # since the arrival of the driving frame that its newest result frame shows


@dataclass(frozen=True)
class History:
    """The last steps and displays."""

    taken: tuple[StepTaken, ...] = ()
    delays: tuple[float, ...] = ()  # of displayed windows
    steps: int = 0
    shown: int = 0
    dropped: int = 0

    def stepped(self, step: StepTaken) -> History:
        """With one more step."""
        return replace(self, taken=(*self.taken, step)[-KEPT_STEPS:], steps=self.steps + 1)

    def displayed(self, delay: float | None, frames: int, dropped: int) -> History:
        """With what the page told of one more window."""
        delays = self.delays if delay is None else (*self.delays, delay)[-KEPT_SHOWN:]
        return replace(self, delays=delays, shown=self.shown + frames, dropped=self.dropped + dropped)

    def anew(self) -> History:
        """For another performer, whose steps take other times."""
        return replace(self, taken=())

    @property
    def usual(self) -> float | None:
        """Seconds of a step as a rule; None before the first. The first ones may have been longer."""
        return ranked([step.seconds for step in self.taken], 0.5)

    @property
    def period(self) -> float | None:
        """Seconds from one step to the next, as a rule."""
        ends = [step.ended for step in self.taken]
        return ranked([later - earlier for earlier, later in pairwise(ends)], 0.5)

    def rate(self, window: int) -> float:
        """Driving frames a second that steps of `window` frames can take: asking for more would only replace some."""
        usual = self.usual
        return USUAL_DRIVING if usual is None else min(MOST_DRIVING, max(LEAST_DRIVING, window / max(usual, 1e-3)))

    def delay_of(self, window: int) -> float | None:
        """Seconds from a window's first driving frame to its display that must be expected."""
        usual = self.usual
        return None if usual is None else IN_FLIGHT * usual + window / min(self.rate(window), USUAL_DRIVING)

    def fps(self, now: float) -> float:
        """Result frames a second lately: over whole steps, a few of them where they are long."""
        recent = [step for step in self.taken if now - step.ended <= max(RECENT, 4 * (self.period or 0.0))]
        seconds = recent[-1].ended - recent[0].ended if recent else 0.0
        return sum(step.frames for step in recent[1:]) / seconds if seconds > 0 else 0.0


def figures_of(history: History, now: float, window: int, waiting: tuple[int, int], keyframes: int) -> Figures:
    """The figures at time `now`; `waiting` is how many driving frames wait, and how many were replaced."""
    seconds = [step.seconds for step in history.taken]
    return Figures(
        fps=history.fps(now),
        step_p50=ranked(seconds, 0.5),
        step_p95=ranked(seconds, 0.95),
        period=history.period,
        rate=history.rate(window),
        replaced=waiting[1],
        waiting=waiting[0],
        keyframes=keyframes,
        server_delay=ranked([step.delay for step in history.taken if step.delay is not None], 0.5),
        delay_p50=ranked(history.delays, 0.5),
        delay_p95=ranked(history.delays, 0.95),
        shown=history.shown,
        dropped=history.dropped,
        steps=history.steps,
    )


def ranked(values: Sequence[float], share: float) -> float | None:
    """The smallest of `values` that `share` of them do not exceed, 0.5 being the median; None if there is none."""
    ordered = sorted(values)
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
