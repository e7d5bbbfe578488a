"""The sound track of a written video: encodes what a file or a microphone gives, in step with the pictures."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from .decode import load_av

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

DEFAULT_RATE = 48000  # Hz, used if the encoder does not support the rate of the input; every encoder here has it
_COMPRESSED = ("aac", "libopus")
_BIT_RATE = 192_000  # bit/s, high enough that re-encoding is inaudible


class SoundSource(Protocol):
    """Where a track's samples come from."""

    layout: str  # mono or stereo
    rate: int  # Hz

    def begin(self, rate: int, time: Fraction) -> None:
        """Called before the first `read`: the encoder's rate in Hz, and the first frame's time as it was given."""

    def read(self, position: int, count: int) -> NDArray[np.float32]:
        """1 to `count` samples [C, n] from `position` on, in samples since the first frame; none: not yet there."""

    def after(self, time: Fraction) -> Iterator[NDArray[np.float32]]:
        """What follows the last picture, which ends at `time` seconds after the first."""


class SoundTrack:
    """The sound track of `output`, written in step with the video; always encoded, so that cuts are sample-exact."""

    def __init__(self, output: OutputContainer, source: SoundSource, encoder: str) -> None:
        """Adds the track to `output`, before its first packet; `encoder`: FFmpeg's name, such as aac."""
        stream = cast("AudioStream", output.add_stream(encoder, rate=DEFAULT_RATE, layout=source.layout))
        rates = stream.codec_context.codec.audio_rates
        self._rate = source.rate if rates is None or source.rate in rates else DEFAULT_RATE
        stream.codec_context.sample_rate = self._rate
        if encoder in _COMPRESSED:
            stream.codec_context.bit_rate = _BIT_RATE
        self._stream, self._source = stream, source
        self._position = 0

    def begin(self, time: Fraction) -> None:
        """The first frame has this time, as it was given."""
        self._source.begin(self._rate, time)

    def until(self, time: Fraction) -> Iterator[Packet[Any]]:
        """Yields the packets that extend the track to `time` seconds after its start, as far as there is sound yet."""
        target = round(time * self._rate)
        while self._position < target:
            taken = self._source.read(self._position, target - self._position)
            if not taken.shape[1]:
                return
            yield from self._encode(taken)

    def finish(self, time: Fraction) -> Iterator[Packet[Any]]:
        """Yields the packets up to `time`, the end of the last picture, and of what the source has after that."""
        yield from self.until(time)
        for piece in self._source.after(time):
            if piece.shape[1]:
                yield from self._encode(piece)
        yield from self._stream.encode(None)

    def _encode(self, samples: NDArray[np.float32]) -> Iterator[Packet[Any]]:
        layout = self._source.layout
        frame: AudioFrame = load_av().AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
        self._position += samples.shape[1]
        yield from self._stream.encode(frame)
