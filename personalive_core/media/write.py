"""Writes video one RGB frame at a time, with audio; the unfinished file is playable at any moment."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, OutputError, PersonaLiveError
from .audio import FileSound, has_audio
from .decode import load_av, open_media
from .encode import LONGEST, VideoTrack, codec_for
from .files import DiskSync, check_suffix, partial_path, prepare_output, put_in_place
from .label import badge, container_metadata, make_label, stamp
from .pieces import SoundPieces
from .sound import SoundTrack

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet

_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
_FRAGMENTING = (".mp4", ".mov")  # the others play unfinished without fragments
# What is finished goes to the file at once: fragments (mp4, mov) or clusters (mkv) of half a second, which play before
# the file is closed. The header waits for the first one, as it states the audio encoder's delay.
_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+delay_moov+default_base_moof", "frag_duration": "500000"}
_CLUSTERED = {"cluster_time_limit": "500"}  # milliseconds
_AT_ONCE = {"flush_packets": "1"}
_ORDINARY = {"movflags": "faststart"}
_MOV_TAGS = "+use_metadata_tags"  # for a description in mov, and tags of any name; in mp4 it hides the comment
_MP4_KEYS = {"comment", "description"}  # what mp4 stores without
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class WriteOptions:
    """How a video is written."""

    rate: Fraction = Fraction(25)  # frames per second if `write` gets no times; the last frame lasts 1 / rate
    audio: Path | None = None  # the video (usually the driving video) whose audio is kept, if it has any
    audio_start: float | Fraction = 0  # seconds since the first frame of `audio`
    lossless: bool = False  # reads back as exactly the same RGB values; for further editing, as few players show it
    label: bool = True  # metadata says that the file is generated, and by which software
    mark: bool = False  # a small visible mark in the lower right corner
    details: Mapping[str, str] = field(default_factory=dict)  # further metadata, such as the seed
    codec: str | None = None  # a name of encode.CODECS; None: the usual one for the file's suffix
    crf: int | None = None  # quality, where the codec has it: less is better, larger files; None: visually lossless
    tags: Mapping[str, str] = field(default_factory=dict)  # metadata under their own keys, beside the label
    sound: SoundPieces | None = None  # instead of `audio`: comes while the video is written, on the frames' clock


_DEFAULTS = WriteOptions()


class VideoWriter:
    """Writes frames to `path` (.mp4, .mov, .mkv or .webm): a context manager.

    The usual codec is H.264 in 4:2:0, BT.709, which plays everywhere (VP9 in .webm). It allows only even sizes, so an
    odd frame has its last column or row repeated. Until the block ends, the file is `name.partial.mp4` in the same
    folder. Then it is renamed to `path` and replaces an older file. If the block raises, the partial file is closed and
    kept, so that it plays. A killed process loses at most the last two seconds, or three frames. A block that wrote no
    frame leaves no file and raises OutputError.

    Times are exact to 1/90000 s or better, in mkv and webm to 1/1000 s. The sound goes on to its end if the pictures
    were taken to theirs; otherwise it ends with the last frame.
    """

    def __init__(self, path: str | Path, size: tuple[int, int], options: WriteOptions = _DEFAULTS) -> None:
        """Opens the file; `size` is (width, height) of the frames to come.

        Raises:
            OutputError: the file cannot be written there.
            InputError: the frame rate is not above 0, the codec and the container do not fit, or the audio cannot be
                read.
        """
        if options.rate <= 0:
            raise InputError(f"The frame rate must be above 0, not {options.rate}.")
        check_suffix(Path(path), _SUFFIXES)
        sound = _sound(options)
        self.path, self.size, self.rate = Path(path), size, Fraction(options.rate)
        self.frames = 0  # number of frames passed to `write` so far
        suffix = self.path.suffix.lower()
        codec = codec_for(suffix, options.codec, options.lossless, options.crf)
        self._metadata = {**options.tags, **container_metadata(make_label(options.label, options.details))}
        self._fragmented = suffix in _FRAGMENTING
        self.partial = prepare_output(self.path, _SUFFIXES)
        growing = {**(_FRAGMENTED if self._fragmented else _CLUSTERED), **_AT_ONCE}
        self._container = _create(self.partial, growing, self._metadata)
        self._disk = DiskSync(self.partial)
        self._video = VideoTrack(self._container, size, self.rate, codec)
        self._pieces = options.sound
        self._audio = SoundTrack(self._container, sound, codec.sound) if sound else None
        self._badge = badge(size[1]) if options.mark else None
        self._first = self._last = Fraction(0)  # times of the first and the last frame, as given
        self._length: Fraction | None = None  # how long the last frame is shown, as given
        self._tick = -1  # the last frame's time on the track's clock
        self._stopped = False

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, image: NDArray[np.uint8], time: Fraction | None = None, duration: Fraction | None = None) -> None:
        """Adds `image` [H, W, 3] uint8 RGB, shown from `time` until the time of the next frame.

        Args:
            image: may be changed by the caller afterwards.
            time: seconds on any clock; the first frame's time becomes 0. None: the next multiple of 1 / rate.
            duration: seconds that the frame is shown if it is the last one. None: 1 / rate.

        Raises:
            OutputError: writing failed, for example on a full disk; the message says what was kept.
            ValueError: `image` has another size or dtype, or `time` is not later than the previous one.
        """
        if image.shape != (self.size[1], self.size[0], 3) or image.dtype != np.uint8:
            raise ValueError(f"expected uint8 frames of (width, height) {self.size}, got {image.dtype} {image.shape}")
        if time is None:
            time = (math.floor(self._last * self.rate) + 1) / self.rate if self.frames else Fraction(0)
        if self.frames and time <= self._last:
            raise ValueError(f"the times of frames must rise, but {time} s came after {self._last} s")
        first = self._first if self.frames else time
        if not self.frames and self._audio is not None:
            self._audio.begin(time)
        tick = max(round((time - first) * self._video.clock), self._tick + 1)
        if self._fragmented and tick - self._tick > LONGEST:
            hours = float(LONGEST / self._video.clock / 3600)
            raise OutputError(f"{self.path.suffix} cannot hold a pause of over {hours:.1f} hours: write .mkv")
        self._first, self._last, self._length, self._tick = first, time, duration, tick
        self._mux(self._video.put(image if self._badge is None else stamp(image, self._badge), tick))
        self._mux_audio(time)
        self.frames += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self.frames:
            self._discard()
            if kind is None:
                raise OutputError(f"{self.path} was not written, as no frame was made: choose a longer input.")
        elif kind is None:
            self._finish()
        elif not self._stopped:
            self._keep_partial()

    def _mux(self, packets: Iterable[Packet[Any]]) -> None:
        try:
            for packet in packets:
                self._container.mux(packet)
            self._disk.often()
        except OSError as error:
            raise self._stop(error) from error

    def _mux_audio(self, until: Fraction) -> None:
        if self._audio is not None:
            self._mux(self._audio.until(until - self._first))

    def _drain(self) -> None:
        """Writes what the encoders still hold, closes the file and checks it."""
        length = self._length or 1 / self.rate
        self._mux(self._video.flush(min(round(length * self._video.clock), LONGEST)))
        if self._pieces is not None:
            self._pieces.close()
        if self._audio is not None:
            self._mux(self._audio.finish(self._last - self._first + length))
        try:
            self._container.close()
            _check_frames(self.partial, self.frames)
        except OSError as error:
            raise self._stop(error) from error

    def _finish(self) -> None:
        self._drain()
        self._disk.close()
        if self._fragmented:
            _unfragment(self.partial, self.frames, self._metadata)
        put_in_place(self.partial, self.path)

    def _keep_partial(self) -> None:
        try:
            self._drain()
            self._disk.close()
        except OutputError as error:  # only logged: the error that ended the block goes on
            _log.warning("%s", error)
        else:
            _log.warning("Stopped early: %d frames are in %s, which plays.", self.frames, self.partial)

    def _stop(self, error: OSError) -> OutputError:
        """Gives up writing; returns the error for the user, which says how much of the video can be played."""
        self._stopped = True
        self._close()
        kept = _count_frames(self.partial)
        reason = "the disk is full" if error.errno in _FULL else error.strerror
        if not kept:
            self._discard()
            return OutputError(f"{self.path} cannot be written, as {reason}: choose another folder or free space.")
        return OutputError(
            f"{self.path} could not be finished, as {reason}: its first {kept} frames are in {self.partial}, which "
            "plays; free space or choose another folder, and run again."
        )

    def _discard(self) -> None:
        self._close()
        self.partial.unlink(missing_ok=True)

    def _close(self) -> None:
        self._disk.close()
        with contextlib.suppress(OSError):
            self._container.close()


def _sound(options: WriteOptions) -> FileSound | SoundPieces | None:
    """What the sound track is made of; None: there is none. Raises InputError for two sources, or a bad file."""
    if options.audio is not None and options.sound is not None:
        raise InputError("a video has one sound, but a file and pieces were given: give one of them")
    if options.audio is None or not has_audio(options.audio):
        return options.sound
    return FileSound(options.audio, Fraction(options.audio_start))


def _create(path: Path, options: dict[str, str], metadata: Mapping[str, str]) -> OutputContainer:
    suffix = path.suffix.lower()
    if suffix == ".mov" or (suffix == ".mp4" and not metadata.keys() <= _MP4_KEYS):
        options = {**options, "movflags": options["movflags"] + _MOV_TAGS}
    container: OutputContainer = load_av().open(f"file:{path}", "w", container_options=options)
    container.metadata.update(metadata)
    return container


def _unfragment(partial: Path, frames: int, metadata: Mapping[str, str]) -> None:
    """Rewrites the fragmented file `partial` as an ordinary one, header first; on a full disk it stays fragmented."""
    whole = partial_path(partial, "whole")
    try:
        with open_media(partial) as source, _create(whole, _ORDINARY, metadata) as target:
            streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
            for packet in source.demux():
                if packet.dts is not None:  # the last packets are empty
                    packet.stream = streams[packet.stream_index]
                    target.mux(packet)
        _check_frames(whole, frames)
        whole.replace(partial)
    except (OSError, load_av().FFmpegError) as error:
        _log.warning("%s stays a fragmented file, which plays but takes longer to open: %s", partial, error.strerror)
    finally:
        whole.unlink(missing_ok=True)


def _check_frames(path: Path, expected: int) -> None:
    """Raises OSError unless all frames are there: FFmpeg reports no error if the disk fills up at the close."""
    if _count_frames(path) != expected:
        raise OSError(errno.EIO, "not all of it reached the disk")


def _count_frames(path: Path) -> int:
    """The number of intact frames in the video at `path`, which may be cut off; 0 if it cannot be read."""
    try:
        with open_media(path) as container:
            return sum(
                packet.stream.type == "video" and packet.size > 0 and not packet.is_corrupt
                for packet in container.demux()
            )
    except (PersonaLiveError, load_av().FFmpegError):
        return 0
