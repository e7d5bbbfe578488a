"""Recordings and snapshots that a session's page asks for, in the output folder and named by their time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import OutputError, PersonaLiveError
from ..media.picture import write_image
from .outlet import Outlet, Still
from .record import CAMERA, RESULT, FilmRecorder, Recorded, RecordOptions
from .types import Captured


class Takes:
    """One recording at a time. `told` gets `saved` and `failed` with their fields, see protocol.py, in any thread.

    `folders` are those of results and of what the camera showed; None: nothing can be written.
    """

    def __init__(
        self,
        folders: tuple[Path | None, Path | None],
        outlet: Outlet,
        told: Callable[[str, Mapping[str, Any]], None],
    ) -> None:
        self._folders, self._outlet, self._told = folders, outlet, told
        self._lock = threading.Lock()
        self._recorder: FilmRecorder | None = None
        self._ending: tuple[FilmRecorder, ...] = ()  # their films are being finished
        self._over = False
        self._leave: Callable[[], None] = lambda: None

    @property
    def recording(self) -> str | None:
        """What is recorded at present, one of RECORDED; None: nothing."""
        recorder = self._recorder
        return recorder.options.what if recorder is not None and recorder.running else None

    def start(self, what: str, sound: bool) -> None:
        """Begins a recording of `what`, one of RECORDED, in place of one that is on."""
        self.stop()
        try:
            recorder = FilmRecorder(self._name(".mp4", what), RecordOptions(what, sound), self._recorded)
        except PersonaLiveError as error:
            self._told("failed", {"what": "record", "text": str(error)})
            return
        with self._lock:
            over = self._over
            if not over:
                self._recorder = recorder
            if what == RESULT and not over:
                self._leave = self._outlet.listen(lambda window: show_window(recorder, window))
        if over:  # the session ended meanwhile
            recorder.finish()

    def close(self) -> None:
        """Ends the recording that is on, waits for all films, and lets none begin after it."""
        with self._lock:
            self._over = True
        self.stop()
        for recorder in self._ending:
            recorder.finish()

    def stop(self) -> None:
        """Ends the recording that is on. A long film takes a while to be there: live goes on meanwhile."""
        with self._lock:
            recorder, leave = self._recorder, self._leave
            self._recorder, self._leave = None, lambda: None
            if recorder is not None:
                self._ending = (*(one for one in self._ending if one.alive), recorder)
        leave()
        if recorder is not None:
            recorder.finish(wait=False)

    def drive(self, captured: Captured) -> None:
        """A driving frame: it is recorded if the camera is."""
        recorder = self._recorder
        if recorder is not None and recorder.options.what == CAMERA:
            recorder.show(captured.time, captured.picture)

    def hear(self, time: float, samples: NDArray[np.float32], rate: int) -> None:
        """Sound [C, n] on the clock of the driving frames."""
        recorder = self._recorder
        if recorder is not None:
            recorder.hear(time, samples, rate)

    def snapshot(self) -> None:
        """Writes the newest result frame as a PNG."""
        try:
            still = self._outlet.latest
            if still is None:
                raise OutputError("there is no result yet: take a snapshot once the portrait moves")
            path = self._name(".png")
            write_image(path, still.made.picture)
        except PersonaLiveError as error:
            self._told("failed", {"what": "snapshot", "text": str(error)})
        else:
            self._told("saved", {"what": "snapshot", "name": path.name})

    def _recorded(self, recorded: Recorded) -> None:
        if recorded.error is not None:
            self._told("failed", {"what": "record", "text": str(recorded.error)})
        else:
            self._told("saved", {"what": "record", "name": recorded.path.name})

    def _name(self, suffix: str, what: str = RESULT) -> Path:
        """A file that is not there yet, nor will be once a film is finished."""
        folder = self._folders[what == CAMERA]
        if folder is None:
            raise OutputError("this session has no output folder: start it with one to record")
        stem = f"live-{datetime.now():%Y%m%d-%H%M%S}"
        names = (f"{stem}{f'-{number}' if number else ''}{suffix}" for number in range(10**6))
        coming = [recorder.path for recorder in self._ending if recorder.alive]
        return next(path for name in names if not (path := folder / name).exists() and path not in coming)


def show_window(recorder: FilmRecorder, window: tuple[Still, ...]) -> None:
    """Adds a window's frames to a recording."""
    for still in window:
        recorder.show(still.made.time, still.made.picture)
