"""The audio track of a written video: the driving video's audio, cut to the exact sample and encoded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .decode import decode, load_av, moving_pictures, open_media, time_base
from .video import is_pictures

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.packet import Packet

_DEFAULT_RATE = 48000  # Hz, used if the encoder does not support the rate of the input
_CHANNELS = {"mono": 1, "stereo": 2}  # more channels are mixed down to stereo
_BIT_RATE = 192_000  # bit/s of AAC, high enough that re-encoding is inaudible
_SEEK_MARGIN = 1  # seconds decoded before the start: codecs need a run-in
_JITTER = Fraction(1, 20)  # seconds of timestamp error to ignore; beyond it, samples are dropped or silence inserted

_log = logging.getLogger(__name__)


class AudioTrack:
    """The audio track of `output`, written in step with the video; always re-encoded, so that cuts are sample-exact."""

    def __init__(self, output: OutputContainer, source: Path, start: Fraction, lossless: bool) -> None:
        """Adds the track to `output`, before its first packet.

        Args:
            output: the container being written.
            source: the file whose first audio track is used; `has_audio(source)` must hold.
            start: seconds since the first frame of `source` (since its beginning, if it has only audio).
            lossless: encodes ALAC instead of AAC.

        Raises:
            InputError: `source` cannot be read.
        """
        with open_media(source) as container:
            codec = container.streams.audio[0].codec_context
            layout, rate = "mono" if codec.layout.nb_channels == 1 else "stereo", codec.sample_rate
        stream: AudioStream = output.add_stream("alac" if lossless else "aac", rate=_DEFAULT_RATE, layout=layout)
        rates = stream.codec_context.codec.audio_rates
        self._rate = rate if rates is None or rate in rates else _DEFAULT_RATE
        stream.codec_context.sample_rate = self._rate
        stream.codec_context.bit_rate = _BIT_RATE
        self._stream, self._layout = stream, layout
        self._samples = _samples(source, start, self._rate, layout)
        self._rest: NDArray[np.float32] = np.zeros((_CHANNELS[layout], 0), np.float32)
        self._position = 0

    def until(self, time: Fraction) -> Iterator[Packet[Any]]:
        """Yields the packets that extend the track to `time` seconds after its start."""
        target = round(time * self._rate)
        while self._position < target:
            taken, self._rest = np.split(self._rest, [target - self._position], axis=1)
            if taken.shape[1]:
                yield from self._encode(taken)
            else:
                self._rest = next(self._samples)

    def flush(self) -> Iterator[Packet[Any]]:
        """Yields the packets that the encoder still holds."""
        yield from self._stream.encode(None)

    def _encode(self, samples: NDArray[np.float32]) -> Iterator[Packet[Any]]:
        frame: AudioFrame = load_av().AudioFrame.from_ndarray(np.ascontiguousarray(samples), "fltp", self._layout)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._position, Fraction(1, self._rate)
        self._position += samples.shape[1]
        yield from self._stream.encode(frame)


def has_audio(path: Path) -> bool:
    """True if `path` has an audio track; pictures, animations and folders have none.

    Raises:
        InputError: the file cannot be read, or its audio cannot be decoded.
    """
    if is_pictures(path):
        return False
    with open_media(path) as container:
        streams = container.streams.audio
        if streams and streams[0].codec_context is None:
            raise InputError(f"The sound of {path} is in a format that cannot be decoded: write without its sound.")
        return bool(streams)


def _samples(path: Path, start: Fraction, rate: int, layout: str) -> Iterator[NDArray[np.float32]]:
    """Yields pieces [C, n] of audio from `start` on, without gap or overlap; fills gaps with silence and never ends."""
    silence = np.zeros((_CHANNELS[layout], rate), np.float32)
    position = 0
    for own, piece in _decoded(path, start, rate, layout):
        ahead = 0 if own is None else own - position  # number of missing samples; negative: samples already yielded
        if position and abs(ahead) < _JITTER * rate:
            ahead = 0
        while ahead > 0:
            gap = silence[:, :ahead]
            ahead, position = ahead - gap.shape[1], position + gap.shape[1]
            yield gap
        fresh = piece[:, -ahead:]
        position += fresh.shape[1]
        yield fresh
    while True:
        yield silence


def _decoded(path: Path, start: Fraction, rate: int, layout: str) -> Iterator[tuple[int | None, NDArray[np.float32]]]:
    """Yields (sample index counted from `start`, or None without a timestamp; decoded piece [C, n])."""
    av = load_av()
    origin = _first_frame_time(path) + start
    resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
    with open_media(path) as container:
        stream = container.streams.audio[0]
        try:
            if start > _SEEK_MARGIN:
                container.seek(int((origin - _SEEK_MARGIN) / time_base(stream)), stream=stream)
            for frame in container.decode(stream):
                for piece in resampler.resample(frame):
                    own = None if piece.pts is None else round((piece.pts * piece.time_base - origin) * rate)
                    yield own, piece.to_ndarray()
        except (av.FFmpegError, ValueError) as error:
            _log.warning("The sound of %s breaks off (%s): silence follows.", path, error)


def _first_frame_time(path: Path) -> Fraction:
    """The time of the first frame of `path` in seconds, on its audio's clock; the container's start if audio only."""
    with open_media(path) as container:
        streams = moving_pictures(container)
        if not streams:
            return Fraction(container.start_time or 0, 10**6)
        frame = next(decode(container, streams[0], []), None)
        return Fraction(0) if frame is None or frame.pts is None else frame.pts * time_base(streams[0])
