"""Sound that comes piece by piece, as from a microphone, while a video is written: placed by its own times."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .decode import load_av
from .sound import DEFAULT_RATE

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

_JOIN = 0.005  # seconds: pieces that miss each other by less follow each other without gap
_PATIENCE = 1.0  # seconds that the pictures may be ahead of the sound before silence takes its place
_LONGEST = 60  # seconds that wait for pictures; older sound goes
_LAYOUTS = {1: "mono", 2: "stereo"}


class _Piece(NamedTuple):
    start: int  # in samples, on the clock of the pieces' times
    samples: NDArray[np.float32]  # [C, n]

    @property
    def end(self) -> int:
        return self.start + int(self.samples.shape[1])


class SoundPieces:
    """Sound for WriteOptions.sound, `put` by one thread and written by another.

    Its times are on the clock of the frames' times. Between pieces, before the first and after the last is silence.
    """

    def __init__(self, channels: int = 1) -> None:
        """`channels` of the written track: 1 or 2."""
        self.layout, self.rate = _LAYOUTS[channels], DEFAULT_RATE
        self._lock = threading.Lock()
        self._pieces: deque[_Piece] = deque()
        self._end: int | None = None  # of the newest piece
        self._form: tuple[int, int] | None = None  # rate and channels of what comes in
        self._resampler: AudioResampler | None = None
        self._expected: float | None = None  # when what comes in goes on
        self._start = 0  # of what is appended next
        self._origin, self._closed = 0, False

    def put(self, time: float, samples: NDArray[np.float32], rate: int) -> None:
        """Adds `samples` [C, n] within -1..1, 1 or 2 channels, at `rate` Hz; the first is heard at `time` seconds.

        What overlaps the piece before is dropped.
        """
        form = (rate, samples.shape[0])
        with self._lock:
            joins = self._expected is not None and abs(time - self._expected) < _JOIN and form == self._form
            if not joins:
                self._drain()
                self._begin_run(time, form)
            self._expected = (self._expected if joins and self._expected is not None else time) + samples.shape[
                1
            ] / rate
            self._append(self._converted(samples, rate))

    def close(self) -> None:
        """No more comes: silence is written instead of waiting for it."""
        with self._lock:
            self._drain()
            self._closed = True

    def begin(self, rate: int, time: Fraction) -> None:
        """As SoundSource: the track's position 0 is `time` on the pieces' clock."""
        del rate  # every encoder has this one's
        with self._lock:
            self._origin = round(time * self.rate)

    def read(self, position: int, count: int) -> NDArray[np.float32]:
        """As SoundSource; none while the sound may still come."""
        at = self._origin + position
        with self._lock:
            while self._pieces and self._pieces[0].end <= at:
                self._pieces.popleft()
            if self._pieces and self._pieces[0].start <= at:
                first = at - self._pieces[0].start
                return self._pieces[0].samples[:, first : first + count]
            if self._pieces:
                return self._silence(min(count, self._pieces[0].start - at))
            known = count if self._closed else max(0, count - round(_PATIENCE * self.rate))
            return self._silence(min(known, self.rate))

    def after(self, time: Fraction) -> Iterator[NDArray[np.float32]]:
        """As SoundSource: nothing, the track ends with the last picture."""
        del time
        return iter(())

    def _silence(self, count: int) -> NDArray[np.float32]:
        return np.zeros((1 if self.layout == "mono" else 2, count), np.float32)

    def _begin_run(self, time: float, form: tuple[int, int]) -> None:
        start = round(time * self.rate)
        near = self._end is not None and abs(start - self._end) < _JOIN * self.rate
        self._start = self._end if near and self._end is not None else start
        self._form = form
        if form != (self.rate, 1 if self.layout == "mono" else 2):
            self._resampler = load_av().AudioResampler(format="fltp", layout=self.layout, rate=self.rate)

    def _converted(self, samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        if self._resampler is None:
            return samples
        layout = _LAYOUTS[samples.shape[0]]
        frame: AudioFrame = load_av().AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
        frame.sample_rate = rate
        return self._joined(self._resampler.resample(frame))

    def _joined(self, frames: list[AudioFrame]) -> NDArray[np.float32]:
        parts = [np.asarray(frame.to_ndarray(), np.float32) for frame in frames]
        return np.concatenate(parts, axis=1) if parts else self._silence(0)

    def _drain(self) -> None:
        """Adds what the resampler still holds."""
        if self._resampler is not None:
            self._append(self._joined(self._resampler.resample(None)))
        self._resampler = None

    def _append(self, samples: NDArray[np.float32]) -> None:
        piece = _Piece(self._start, samples)
        self._start = piece.end
        self._pieces.append(piece)  # where it overlaps the one before, that one is read
        self._end = max(piece.end, self._end or piece.end)
        while self._pieces[0].end < self._end - _LONGEST * self.rate:
            self._pieces.popleft()
