"""Records a live session as a film: frames at their capture times, the microphone's sound on the same clock."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import OutputError, PersonaLiveError
from ..media.files import prepare_output
from ..media.picture import Picture
from ..media.pieces import SoundPieces
from ..media.write import VideoWriter, WriteOptions

RESULT, CAMERA = "result", "camera"
RECORDED = (RESULT, CAMERA)
_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
_MOST = 64  # frames that wait for the encoder; newer ones are left out then
_SLOWEST, _FASTEST = 4, 60  # frames a second that the encoder is set up for; times are exact all the same
_TICKS = 90_000  # a second: how exactly times are kept
_LOOK = 0.1  # seconds between two looks at whether the film is to end
_Timed = tuple[float, Picture]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recorded:
    """How a recording ended."""

    path: Path
    frames: int = 0
    left_out: int = 0  # frames that came faster than they could be encoded
    error: PersonaLiveError | None = None  # why there is no whole film at `path`; its text names files


@dataclass(frozen=True)
class RecordOptions:
    """What is recorded, and how."""

    what: str = RESULT  # result, or camera: the driving frames, which are not generated and not labelled so
    sound: bool = False  # there will be `hear`
    details: Mapping[str, str] = field(default_factory=dict)  # metadata beside the label


class FilmRecorder:
    """Writes in a thread of its own until `finish`; its other methods may be called by any thread and do not block."""

    def __init__(self, path: Path, options: RecordOptions, ended: Callable[[Recorded], None] | None = None) -> None:
        """Begins a film at `path`. `ended` is called in the recorder's thread, once.

        Raises:
            OutputError: no film can be written there.
        """
        self.path, self.options = path, options
        prepare_output(path, _SUFFIXES).unlink()  # now, not once the first frame has come
        self._sound = SoundPieces() if options.sound else None
        self._frames: queue.Queue[_Timed] = queue.Queue(_MOST)
        self._ended, self._left_out = ended, 0
        self._finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="live-recorder", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether frames are still taken: it was not ended, and nothing went wrong."""
        return not self._finishing.is_set()

    @property
    def alive(self) -> bool:
        """Whether its film is not yet finished."""
        return self._thread.is_alive()

    def show(self, time: float, picture: Picture) -> None:
        """Adds a frame [H, W, 3]; one that is not later than the one before is left out."""
        if not self._finishing.is_set():
            try:
                self._frames.put_nowait((time, picture))
            except queue.Full:
                self._left_out += 1

    def hear(self, time: float, samples: NDArray[np.float32], rate: int) -> None:
        """Adds sound [C, n] within -1..1 that begins at `time`, on the clock of the frames' times."""
        if self._sound is not None and not self._finishing.is_set():
            self._sound.put(time, samples, rate)

    def finish(self, wait: bool = True) -> None:
        """Ends the film; with `wait`, returns when it is there."""
        self._finishing.set()
        if wait and threading.current_thread() is not self._thread:
            self._thread.join()

    def _run(self) -> None:
        frames, error = 0, None
        try:
            frames = self._write()
        except PersonaLiveError as problem:
            error = problem
        except Exception:  # a bug; the session goes on
            _log.exception("The recording %s broke off", self.path)
            error = OutputError(f"{self.path} could not be recorded, for an unknown reason: see the log")
        self._finishing.set()
        if self._ended is not None:
            self._ended(Recorded(self.path, frames, self._left_out, error))

    def _write(self) -> int:
        """Opens the film once two frames tell its rate; returns its number of frames."""
        first = self._next()
        if first is None:
            raise OutputError(f"{self.path} was not written, as no frame came: record while the session is live")
        second = self._next()
        height, width = first[1].shape[:2]
        last: Fraction | None = None
        with VideoWriter(self.path, (width, height), self._write_options(first, second)) as writer:
            for seconds, picture in self._all(first, second):
                time = Fraction(round(seconds * _TICKS), _TICKS)
                if last is None or time > last:
                    writer.write(fitted(picture, (width, height)), time)
                    last = time
        return writer.frames

    def _all(self, *begun: _Timed | None) -> Iterator[_Timed]:
        yield from (one for one in begun if one is not None)
        while (one := self._next()) is not None:
            yield one

    def _next(self) -> _Timed | None:
        """The next frame, once it is there; None when the film is to end and all have been taken."""
        while True:
            try:
                return self._frames.get(timeout=_LOOK)
            except queue.Empty:
                if self._finishing.is_set():
                    return None

    def _write_options(self, first: _Timed, second: _Timed | None) -> WriteOptions:
        rate = _FASTEST
        if second is not None and second[0] > first[0]:
            rate = min(_FASTEST, max(_SLOWEST, round(1 / (second[0] - first[0]))))
        generated = self.options.what == RESULT
        return WriteOptions(Fraction(rate), sound=self._sound, label=generated, details=self.options.details)


def fitted(picture: Picture, size: tuple[int, int]) -> Picture:
    """The whole `picture` within (width, height), black around it where its shape differs."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = Image.new("RGB", size)
    canvas.paste(Image.fromarray(picture).resize(inner), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return np.asarray(canvas)
