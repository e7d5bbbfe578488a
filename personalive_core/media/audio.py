"""The sound of media files: which track is used, decoded from a moment on to the exact sample, without gaps."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..text import warn_once
from .decode import RESTART, decode, default_first, load_av, moving_pictures, open_media, seek, time_base
from .timing import told_end
from .video import is_pictures

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_CHANNELS = {"mono": 1, "stereo": 2}  # more channels are mixed down to stereo
_SEEK_MARGIN = 1  # seconds decoded before the start: codecs need a run-in
_TRIES = 100  # packets in which a track must give sound to count as one that can be decoded
_ROUNDING = Fraction(1, 500)  # seconds by which the pictures' end may seem later than it is: containers round times
_JITTER = Fraction(1, 20)  # seconds of timestamp error to ignore; beyond it, samples are dropped or silence inserted

_log = logging.getLogger(__name__)


class FileSound:
    """The sound of a file from a moment on, for a SoundTrack: silence where it has ended."""

    def __init__(self, path: Path, start: Fraction) -> None:
        """`start`: seconds since the first frame of `path` (since its beginning, if it has only audio).

        Raises:
            InputError: `path` cannot be read; `has_audio(path)` must hold.
        """
        self.layout, self.rate = _form(path)
        self._path, self._start = path, start
        self._samples: Iterator[NDArray[np.float32]] = iter(())
        self._rest = _silence(0, self.layout)

    def begin(self, rate: int, time: Fraction) -> None:
        """Will be read at `rate` Hz. The first frame's own `time` says nothing of a file."""
        del time
        self.rate = rate
        self._samples = _samples(self._path, self._start, rate, self.layout)

    def read(self, position: int, count: int) -> NDArray[np.float32]:
        """At most `count` samples [C, n] that follow those before, at `position`."""
        del position
        while not self._rest.shape[1]:
            lacking = min(count, self.rate)  # a long silence second by second
            self._rest = next(self._samples, _silence(lacking, self.layout))
        taken, self._rest = np.split(self._rest, [count], axis=1)
        return taken

    def after(self, time: Fraction) -> Iterator[NDArray[np.float32]]:
        """All that is left, if the pictures of the file end at `time` after `start` too; else nothing."""
        if _pictures_end_by(self._path, self._start + time):
            yield self._rest
            yield from self._samples


def has_audio(path: Path) -> bool:
    """True if `path` has an audio track; pictures, animations and folders have none.

    Raises:
        InputError: the file cannot be read, or none of its audio tracks can be decoded.
    """
    if is_pictures(path):
        return False
    with open_media(path) as container:
        if not container.streams.audio:
            return False
        chosen = _usable(container, path)
        first = default_first(container.streams.audio)[0]
        if chosen.index != first.index:
            warn_once(_log, f"The first sound track of {path} cannot be decoded: track {chosen.index} is used.")
        return True


def read_sound(path: Path, start: Fraction, seconds: Fraction) -> tuple[NDArray[np.float32], int]:
    """The sound [C, n] of `path`, mono or stereo within -1..1, and its rate in Hz; `has_audio(path)` must hold.

    Args:
        path: a file with sound.
        start: seconds since the first frame of `path` (since its beginning, if it has only audio).
        seconds: how much to read; silence where the sound ended before.

    Raises:
        InputError: the file cannot be read.
    """
    layout, rate = _form(path)
    sound, position = _silence(round(seconds * rate), layout), 0
    for piece in _samples(path, start, rate, layout):
        taken = piece[:, : sound.shape[1] - position]
        sound[:, position : position + taken.shape[1]] = taken
        position += taken.shape[1]
        if position == sound.shape[1]:
            break
    return sound, rate


def _form(path: Path) -> tuple[str, int]:
    """The layout, mono or stereo, and the rate in Hz in which the sound of `path` is read."""
    with open_media(path) as container:
        codec = _usable(container, path).codec_context
        return "mono" if codec.layout.nb_channels == 1 else "stereo", codec.sample_rate


def _usable(container: InputContainer, path: Path) -> AudioStream:
    """The first audio track, the default one before others, that gives sound. Raises InputError if there is none."""
    tracks = default_first(container.streams.audio)
    if len(tracks) == 1 and tracks[0].codec_context is not None:
        return tracks[0]  # what it gives is used; where it gives nothing, there is silence and a warning
    for track in tracks:
        if track.codec_context is not None and _gives_sound(path, track.index):
            return track
    raise InputError(f"The sound of {path} is in a format that cannot be decoded: write without its sound.")


def _gives_sound(path: Path, index: int) -> bool:
    """Whether the stream `index` of `path` decodes to samples within its first packets."""
    with open_media(path) as container:
        packets = (packet for packet in container.demux(container.streams[index]) if packet.size)
        for packet in islice(packets, _TRIES):
            with contextlib.suppress(load_av().FFmpegError):
                if packet.decode():
                    return True
    return False


def _pictures_end_by(path: Path, time: Fraction) -> bool:
    """Whether no picture of `path` is shown later than `time`, in seconds since its first; False without pictures."""
    origin = _first_frame_time(path)
    with open_media(path) as container:
        streams = moving_pictures(container)
        if not streams:
            return False
        seek(container, streams[0], int((origin + time - _SEEK_MARGIN) / time_base(streams[0])))
        try:
            for packet in container.demux(streams[0]):
                if packet.pts is not None and packet.size:
                    end = (packet.pts + (packet.duration or 0)) * time_base(streams[0])
                    if end > origin + time + _ROUNDING:
                        return False
        except load_av().FFmpegError:
            _log.debug("%s cannot be read to its end", path)
    return True


def _silence(samples: int, layout: str) -> NDArray[np.float32]:
    """Silence [C, samples]."""
    return np.zeros((_CHANNELS[layout], samples), np.float32)


def _samples(path: Path, start: Fraction, rate: int, layout: str) -> Iterator[NDArray[np.float32]]:
    """Yields pieces [C, n] of audio from `start` on, without gap or overlap; fills gaps with silence."""
    silence = _silence(rate, layout)
    position = shift = 0
    before: int | None = None
    for own, piece in _decoded(path, start, rate, layout):
        if own is not None:
            if before is not None and own < before - RESTART * rate:  # joined files
                shift = position - own
            before = own
        ahead = 0 if own is None else own + shift - position  # missing samples; negative: samples already yielded
        if position and abs(ahead) < _JITTER * rate:
            ahead = 0
        while ahead > 0:
            gap = silence[:, :ahead]
            ahead, position = ahead - gap.shape[1], position + gap.shape[1]
            yield gap
        fresh = piece[:, -ahead:]
        position += fresh.shape[1]
        yield fresh


def _decoded(path: Path, start: Fraction, rate: int, layout: str) -> Iterator[tuple[int | None, NDArray[np.float32]]]:
    """Yields (sample index counted from `start`, or None without a timestamp; decoded piece [C, n])."""
    av = load_av()
    origin = _first_frame_time(path) + start
    with open_media(path) as container:
        stream = _usable(container, path)
        if start > _SEEK_MARGIN:
            seek(container, stream, int((origin - _SEEK_MARGIN) / time_base(stream)))
        try:
            for piece in _resampled(_sound(container, stream), rate, layout):
                clock = Fraction(piece.time_base or Fraction(1, rate))
                own = None if piece.pts is None else round((piece.pts * clock - origin) * rate)
                yield own, np.asarray(piece.to_ndarray(), np.float32)
        except (av.FFmpegError, ValueError) as error:
            _log.warning("The sound of %s breaks off (%s): silence follows.", path, error)


def _sound(container: InputContainer, stream: AudioStream) -> Iterator[AudioFrame]:
    """Yields the decoded frames of `stream`; broken packets leave gaps. Raises ValueError if all are broken."""
    av = load_av()
    failed: Exception | None = None
    held: AudioFrame | None = None  # the last one may be longer than the sound
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except av.InvalidDataError as error:
            failed = error
            continue
        for frame in frames:
            if held is not None:
                yield held
            held = frame
    if held is not None:
        yield _without_padding(held, told_end(container, stream))
    elif failed is not None:
        raise ValueError(f"no part of it decodes: {failed}")


def _without_padding(frame: AudioFrame, end: Fraction) -> AudioFrame:
    """The last frame without what the encoder added to fill it, behind the track's `end` in seconds (0: not told)."""
    if not end or frame.pts is None or frame.time_base is None:
        return frame
    samples = round((end - frame.pts * Fraction(frame.time_base)) * frame.sample_rate)
    if not 0 < samples < frame.samples:
        return frame
    kept = frame.to_ndarray()[:, : samples if frame.format.is_planar else samples * frame.layout.nb_channels]
    cut: AudioFrame = load_av().AudioFrame.from_ndarray(
        np.ascontiguousarray(kept), frame.format.name, frame.layout.name
    )
    cut.sample_rate, cut.pts, cut.time_base = frame.sample_rate, frame.pts, frame.time_base
    return cut


def _resampled(frames: Iterator[AudioFrame], rate: int, layout: str) -> Iterator[AudioFrame]:
    """Yields the same sound at `rate` and in `layout`; the frames' own format may change between two of them."""
    resampler: AudioResampler | None = None
    before: tuple[object, ...] | None = None
    for frame in frames:
        form = frame.sample_rate, frame.layout.name, frame.format.name
        if resampler is None or form != before:
            yield from _flushed(resampler)
            resampler, before = load_av().AudioResampler(format="fltp", layout=layout, rate=rate), form
        yield from resampler.resample(frame)
    yield from _flushed(resampler)


def _flushed(resampler: AudioResampler | None) -> list[AudioFrame]:
    return resampler.resample(None) if resampler is not None else []


def _first_frame_time(path: Path) -> Fraction:
    """The time of the first frame of `path` in seconds, on its audio's clock; the container's start if audio only."""
    with open_media(path) as container:
        streams = moving_pictures(container)
        if not streams:
            return Fraction(container.start_time or 0, 10**6)
        frame = next(decode(container, streams[0], []), None)
        return Fraction(0) if frame is None or frame.pts is None else frame.pts * time_base(streams[0])
