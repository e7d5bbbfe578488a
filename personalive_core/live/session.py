"""The live session: one worker thread takes the newest driving frames through the performer, step by step."""

from __future__ import annotations

import time
from collections.abc import Callable
from threading import Event, Thread, current_thread
from typing import Any

from ..errors import InputError
from ..media.picture import Picture
from .consumers import Consumer
from .figures import USUAL_DRIVING, Figures, figures_of
from .turns import Turns
from .types import Captured, Made, Performer, Settings
from .words import BY_SOURCE, PAUSES, Said, state_word

_IDLE, _LOOK = 0.05, 0.25  # seconds between two looks at the gate, and at how long a step takes
_REACH = 1.5  # usual steps: after a stall, driving frames older than that are not taken


def _free() -> bool:
    return True


class LiveSession(Turns):
    """Driving frames in, the animated portrait out, until it is stopped. All methods but `stop` return at once.

    `gate` tells whether the device is free; `model` and `device` are words for people. `clock` gives seconds.
    """

    def __init__(
        self,
        performer: Performer,
        settings: Settings = Settings(),  # noqa: B008 - frozen
        gate: Callable[[], bool] = _free,
        model: str = "small",
        device: str = "cpu",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(performer, settings, gate, (model, device), clock)
        self._threads: tuple[Thread, ...] = ()
        self._stopping = Event()

    def start(self) -> None:
        """Starts the worker thread, and one that sees when a step takes too long."""
        names = {"personalive-live": self._work, "personalive-live-watch": self._watch}
        self._threads = tuple(Thread(target=work, name=name, daemon=True) for name, work in names.items())
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends the session: waits for the step that is being taken, then drops state, performer and listeners."""
        self._stopping.set()
        self._nudged.set()
        for thread in self._threads:
            if thread is not current_thread():
                thread.join()
        if current_thread() not in self._threads:
            self._end()

    def offer(self, frame: Captured) -> None:
        """Gives a driving frame; it may be replaced by a newer one before it is taken."""
        now = self._clock()
        self._arrived = now
        if self._open:
            usual = self._history.usual
            reach = None if usual is None else max(_REACH * usual, self._window / USUAL_DRIVING)
            self._inbox.offer(frame, now, reach)
            self._nudged.set()

    def change(self, settings: Settings) -> None:
        """Other settings, from the next step on."""
        self._ask(settings=settings)

    def swap(self, picture: Picture) -> None:
        """Another reference, any picture [H, W, 3]; tracking and calibration stay. Without a face it is refused."""
        self._ask(picture=picture)

    def replace(self, performer: Performer, names: tuple[str, str] | None = None) -> None:
        """Another performer, such as another model's, from its first step on; `names` of its model and device."""
        if names is not None:
            self._change(model=names[0], device=names[1])
        self._ask(performer=performer, picture=None)

    def calibrate(self) -> None:
        """The pose in the next driving frame with a face is the neutral one."""
        self._ask(calibrate=True)

    def restart(self) -> None:
        """Begins anew, as with the first driving frame."""
        self._ask(restart=True)

    def pause(self, reason: str) -> None:
        """Takes no step until it is resumed for the same reason, one of `PAUSES`. Raises InputError for another."""
        self._pause(reason, True)

    def resume(self, reason: str) -> None:
        """Ends the pause for that reason; for "user", also goes on after a failure."""
        self._pause(reason, False)

    def source(self, word: str) -> None:
        """What the source of driving frames says: one of `BY_SOURCE`, or nothing ("") while frames come."""
        if word and word not in BY_SOURCE:
            raise InputError(f"a source says one of {', '.join(BY_SOURCE)} or nothing, not {word!r}: use one of these")
        self._change(source=word)

    def seen(self, delay: float | None, frames: int, dropped: int) -> None:
        """What the page displayed since it last told, see protocol.py's `shown`."""
        with self._lock:
            self._history = self._history.displayed(delay, frames, dropped)

    def subscribe(
        self,
        on_frames: Callable[[tuple[Made, ...]], object] | None = None,
        on_said: Callable[[str, str, Any], object] | None = None,
        on_keyframe: Callable[[int, Picture], object] | None = None,
        on_settings: Callable[[Settings], object] | None = None,
    ) -> Callable[[], None]:
        """Has these called in the session's threads: they must not block. What it returns ends that.

        A listener that raises is logged and not called again.
        """
        return self._consumers.add(Consumer(on_frames, on_said, on_keyframe, on_settings))

    def figures(self) -> Figures:
        """The figures of the last while."""
        waiting = len(self._inbox), self._inbox.replaced
        return figures_of(self._history, self._clock(), self._window, waiting, self._faces.keyframes)

    @property
    def word(self) -> Said:
        """The state that holds now, for a listener that came later."""
        return self._said or state_word(self._situation())

    @property
    def model(self) -> str:
        """The model's name, for people."""
        return self._now.model

    @property
    def device(self) -> str:
        """The device's name, for people."""
        return self._now.device

    @property
    def settings(self) -> Settings:
        """The settings that are in effect."""
        return self._settings

    @property
    def performer(self) -> Performer:
        """The performer, with the present reference. Raises InputError after the end."""
        return self._performing

    @property
    def alive(self) -> bool:
        """Whether it was started and has not been stopped."""
        return bool(self._threads) and not self._stopping.is_set()

    @property
    def busy(self) -> bool:
        """Whether a step is being taken."""
        return self._began is not None

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                self._nudged.clear()
                if not self.turn():
                    self._nudged.wait(_IDLE)
        finally:
            self._stopping.set()
            self._end()

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK):
            self.look()

    def _pause(self, reason: str, on: bool) -> None:
        if reason not in PAUSES:
            raise InputError(f"live is paused for one of {', '.join(PAUSES)}, not {reason!r}: use one of these")
        with self._lock:
            paused = self._now.paused | {reason} if on else self._now.paused - {reason}
            self._change(paused=paused, failed=None if reason == "user" and not on else self._now.failed)
        self._nudged.set()
