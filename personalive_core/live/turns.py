"""The turns of a live session: each makes the changes that were asked for, then takes a step if there is one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from threading import Event, RLock
from typing import Any

from ..errors import InputError, PersonaLiveError
from ..media.picture import Picture
from .consumers import Consumers
from .figures import MOST_DRIVING, History, StepTaken
from .inbox import Inbox, Waiting
from .marks import marked
from .types import QUALITY, DeviceTakenError, Made, Performer, Settings
from .words import FacesSeen, Said, Situation, is_same, say, sentence_of, state_word

_SMOOTHEST = 0.9 / MOST_DRIVING  # seconds between result frames, of which more than MOST_DRIVING a second are not shown
_MOST_IN_FLIGHT = 64  # steps whose result is waited for

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Asked:
    """What is to be changed before the next step; None: nothing."""

    settings: Settings | None = None
    performer: Performer | None = None
    picture: Picture | None = None
    calibrate: bool = False
    restart: bool = False


class Turns:
    """What a live session knows between two steps, and its next turn. One thread takes turns, any may ask.

    `gate` tells whether the device is free; `model` and `device` are words for people. `clock` gives seconds.
    """

    def __init__(
        self,
        performer: Performer,
        settings: Settings,
        gate: Callable[[], bool],
        words: tuple[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._gate, self._clock = gate, clock
        self._performer: Performer | None = performer
        self._state: Any = performer.begin()
        self._settings, self._asked = settings, Asked()
        self._window, self._inbox = performer.window, Inbox(performer.window)
        self._history, self._faces, self._consumers = History(), FacesSeen(), Consumers()
        self._lock, self._telling, self._nudged = RLock(), RLock(), Event()
        self._now = Situation(model=words[0], device=words[1])
        self._open = True  # driving frames are taken in
        self._arrived: float | None = None  # when the last driving frame came
        self._began: float | None = None  # when the present step began
        self._in_flight: tuple[tuple[int, float], ...] = ()  # newest frame of each step: its number, when it came
        self._said: Said | None = None

    def turn(self) -> bool:
        """Makes the changes that were asked for, takes a step if it may and enough frames wait; True if it did."""
        self._change(gate=self._gate())
        self._apply()
        taken = self._take() if self._may() else ()
        if taken:
            self._step(taken)
        self._tell()
        return bool(taken)

    def look(self) -> None:
        """Says the state if it has changed, such as by a step that takes long."""
        self._tell()

    @property
    def _performing(self) -> Performer:
        performer = self._performer
        if performer is None:
            raise InputError("the live session has ended: start another")
        return performer

    def _may(self) -> bool:
        """Whether a step may be taken now. Frames that came while none might be are old: they are dropped."""
        now = self._now
        may = now.gate and not now.paused and now.failed is None
        if may and not self._open:
            self._inbox.clear()
        self._open = may
        return may

    def _take(self) -> tuple[Waiting, ...]:
        if self._settings.mode == QUALITY:
            return self._inbox.take(self._window)
        return self._inbox.take(1, self._window * _SMOOTHEST)

    def _step(self, taken: Sequence[Waiting]) -> None:
        frames, began = [one.frame for one in taken], self._clock()
        self._began = began
        self._tell()
        try:
            done = self._performing.perform(self._state, frames, self._settings)
        except Exception as error:  # of any library's making: the state is still that before the step
            self._failed(error)
            return
        finally:
            self._began = None
        self._state, self._faces = done.state, self._faces.then(frames[-1], done)
        self._in_flight = (*self._in_flight, (frames[-1].number, taken[-1].arrived))
        self._count(done.frames, began)
        if done.frames:
            self._consumers.frames(marked(done.frames) if self._settings.mark else done.frames)

    def _count(self, made: Sequence[Made], began: float) -> None:
        now, delay = self._clock(), None
        if made:
            arrived = [came for number, came in self._in_flight if number == made[-1].number]
            delay = now - arrived[0] if arrived else None
            self._in_flight = tuple(one for one in self._in_flight if one[0] > made[-1].number)
        self._in_flight = self._in_flight[-_MOST_IN_FLIGHT:]
        with self._lock:
            self._history = self._history.stepped(StepTaken(now, now - began, len(made), delay))

    def _failed(self, error: Exception) -> None:
        """A step that failed while the device was taken away is taken again; any other failure waits for a person."""
        if self._taken_away(error):
            _log.debug("A live step ended, as the device is needed: %s", error)
            return
        if not isinstance(error, PersonaLiveError):
            _log.error("A live step failed", exc_info=error)
        self._change(failed=say("failed", text=sentence_of(error)))

    def _taken_away(self, error: Exception) -> bool:
        return isinstance(error, DeviceTakenError) or not self._gate()

    def _apply(self) -> None:
        """Makes the changes that were asked for; those that need the device wait for it."""
        with self._lock:
            asked, free = self._asked, self._now.gate
            self._asked = replace(asked, settings=None) if not free else Asked()
        if asked.settings is not None:
            self._settings = asked.settings
            self._consumers.settings(asked.settings)
        if not free:
            return
        if asked.performer is not None:
            self._history = self._history.anew()  # another model takes other times
            self._perform_with(asked.performer, asked.performer.begin())
        if asked.picture is not None:
            self._swap(asked.picture)
        if asked.restart:
            self._state = self._performing.begin()
        if asked.calibrate:
            self._state = self._performing.calibrated(self._state)

    def _swap(self, picture: Picture) -> None:
        try:
            performer = self._performing.with_reference(picture)
        except Exception as error:
            if self._taken_away(error):
                self._ask_again(picture)
                return
            if not isinstance(error, PersonaLiveError):
                _log.error("A portrait could not be read", exc_info=error)
            self._consumers.said(say("reference_refused", text=sentence_of(error)))
            return
        self._perform_with(performer, self._state)

    def _perform_with(self, performer: Performer, state: Any) -> None:  # noqa: ANN401 - the performer's own value
        self._performer, self._state, self._in_flight = performer, state, ()
        if performer.window != self._window:
            self._inbox, self._window = Inbox(performer.window), performer.window
        self._change(failed=None)
        self._consumers.said(say("reference_changed"))

    def _end(self) -> None:
        """Says so, and lets go of everything that takes memory."""
        self._change(ended=True)
        self._tell()
        self._consumers.clear()
        self._performer, self._state, self._asked = None, None, Asked()
        self._inbox.clear()

    def _ask_again(self, picture: Picture) -> None:
        with self._lock:
            if self._asked.picture is None:
                self._asked = replace(self._asked, picture=picture)

    def _ask(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Asked
        with self._lock:
            self._asked = replace(self._asked, **changes)
        self._nudged.set()

    def _change(self, **changes: Any) -> None:  # noqa: ANN401 - fields of Situation
        with self._lock:
            self._now = replace(self._now, **changes)

    def _situation(self) -> Situation:
        now, faces, began, arrived = self._clock(), self._faces, self._began, self._arrived
        return replace(
            self._now,
            quiet=None if arrived is None else now - arrived,
            taking=None if began is None else now - began,
            usual=self._history.usual,
            delay=self._history.delay_of(self._window),
            unseen=faces.time - (faces.time if faces.found is None else faces.found),
            several=faces.time - (faces.time if faces.single is None else faces.single),
            faces=faces.faces,
        )

    def _tell(self) -> None:
        with self._telling:
            said = state_word(self._situation())
            if not is_same(self._said, said):
                self._said = said
                self._consumers.said(said)
