"""Driving frames from this machine: a camera read by OpenCV, or a film at its own speed; each offers in a thread."""

from __future__ import annotations

import importlib
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from typing import Any, Protocol

from ..errors import InputError, PersonaLiveError
from ..faces.detectors import quiet
from ..media.ahead import ahead
from ..media.picture import Picture
from ..media.video import Frame, probe, read_frames
from .figures import IN_FLIGHT, USUAL_DRIVING, Figures
from .types import Captured

_AGAIN = 1.0  # seconds until a camera that gives nothing is tried again
_PATIENCE = 5.0  # seconds that a camera may take to give its last picture
_LATE = 0.5  # seconds that a film may be behind its clock before it is shown more slowly
_AHEAD = 4  # film frames that are decoded before they are due
_TAIL = 16  # at least so many times a film's last frame is given again, so that all before it come out

_log = logging.getLogger(__name__)


class Taker(Protocol):
    """Whoever takes the frames: a live session."""

    def offer(self, frame: Captured) -> None:
        """Takes a frame, at once."""

    def source(self, word: str) -> None:
        """Takes note that no frames come, see `words.BY_SOURCE`, or "" that they do."""

    def figures(self) -> Figures:
        """The figures of the last while."""


class Camera(Protocol):
    """The part of OpenCV's VideoCapture that is used."""

    def read(self) -> tuple[bool, Any]:
        """Whether there is a picture, and the picture [H, W, 3] uint8 BGR; waits for it."""

    def release(self) -> None:
        """Lets go of the camera."""


def open_camera(index: int) -> Camera:
    """The camera of this number, as OpenCV counts them; it gives no picture if there is none.

    Raises InputError without OpenCV.
    """
    try:
        cv2: Any = importlib.import_module("cv2")
    except ImportError as error:
        raise InputError("this machine's camera needs OpenCV: install it with `pip install opencv-python`") from error
    with quiet(cv2):  # it would complain at every try
        camera: Camera = cv2.VideoCapture(index)
        camera.set(cv2.CAP_PROP_BUFFERSIZE, 1)  # type: ignore[attr-defined]  # the newest picture, where that works
    return camera


class _Playing:
    """A thread that gives frames until it is stopped."""

    def __init__(self, taker: Taker, clock: Callable[[], float]) -> None:
        self._taker, self._clock, self._ended = taker, clock, Event()
        self._thread = Thread(target=self.play, name="personalive-source", daemon=True)

    def start(self) -> None:
        """Begins to give frames."""
        self._thread.start()

    def stop(self) -> None:
        """Ends it, and waits for the picture that is being read."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def play(self) -> None:
        """Gives frames until it is stopped, in this thread."""
        raise NotImplementedError


class CameraSource(_Playing):
    """A camera of this machine. When it gives no picture, that is said, and it is opened again every second.

    Times are those of `clock` when a picture was there.
    """

    def __init__(
        self,
        taker: Taker,
        index: int = 0,
        opened: Callable[[int], Camera] = open_camera,
        clock: Callable[[], float] = time.monotonic,
        again: float = _AGAIN,
    ) -> None:
        super().__init__(taker, clock)
        self._index, self._opened, self._again, self._number = index, opened, again, 0

    def play(self) -> None:
        """See `_Playing.play`."""
        told = ""
        while not self._ended.is_set():
            try:
                self._try()
            except Exception as error:  # of its driver's making: the session waits for the camera, not for this thread
                if told != str(error):
                    told = str(error)
                    _log.warning("The camera broke off: %s", told)
            if not self._ended.is_set():
                self._taker.source("camera_lost")
                self._ended.wait(self._again)

    def _try(self) -> None:
        """Opens the camera, and gives its pictures until there is none."""
        camera = self._opened(self._index)
        try:
            self._film(camera)
        finally:
            camera.release()

    def _film(self, camera: Camera) -> None:
        """Gives the camera's pictures until there is none."""
        before = self._number
        while not self._ended.is_set():
            is_there, picture = camera.read()
            if not is_there or picture is None:
                return
            if self._number == before:
                self._taker.source("")
            self._taker.offer(Captured(picture[:, :, ::-1].copy(), self._number, self._clock()))
            self._number += 1


class FilmSource(_Playing):
    """A film, or any file of pictures that `read_frames` reads, at its own speed; again and again, or once.

    Raises InputError if it cannot be read. Times are those of `clock` at which a frame is due.
    """

    def __init__(
        self,
        taker: Taker,
        path: Path,
        loop: bool = True,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(taker, clock)
        probe(path)
        self._path, self._loop, self._number = path, loop, 0
        self._wait = wait or self._ended.wait

    def play(self) -> None:
        """See `_Playing.play`."""
        began = self._clock()
        try:
            while not self._ended.is_set():
                with closing(ahead(read_frames(self._path), _AHEAD)) as frames:
                    began, last = self._show(frames, began)
                if not self._loop:
                    self._hold(last, began)
                    break
        except (PersonaLiveError, OSError) as error:
            _log.warning("The driving film ended: %s", error)
        except Exception:  # a bug: the session waits for nothing that will not come
            _log.exception("The driving film broke off")
        if not self._ended.is_set():
            self._taker.source("film_over")

    def _show(self, frames: Iterable[Frame], began: float) -> tuple[float, Picture | None]:
        """Shows a film that began then; returns when it ended, and its last picture."""
        last, end = None, 0.0
        for frame in frames:
            late = self._clock() - began - float(frame.time)
            if late > _LATE:
                began += late  # it is decoded too slowly: not shown in leaps, but more slowly
            self._give(frame.image, began + float(frame.time))
            if self._ended.is_set():
                break
            last, end = frame.image, float(frame.time + (frame.duration or 0)) or 1 / USUAL_DRIVING
        return began + end, last

    def _hold(self, last: Picture | None, began: float) -> None:
        """Shows the last picture until the windows in flight have come out."""
        seconds = (IN_FLIGHT + 1) * (self._taker.figures().period or 0.0)
        for index in range(max(_TAIL, round(seconds * USUAL_DRIVING))):
            if last is not None and not self._ended.is_set():
                self._give(last, began + index / USUAL_DRIVING)

    def _give(self, picture: Picture, due: float) -> None:
        """Gives a picture when it is due."""
        early = due - self._clock()
        if early > 0:
            self._wait(early)
        if not self._ended.is_set():
            self._taker.offer(Captured(picture, self._number, due))
            self._number += 1
