"""Opens media files with PyAV, chooses their streams and decodes frames."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InputError, PersonaLiveError
from ..text import warn_once
from .picture import check_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_S = TypeVar("_S", bound="Stream")

# FFmpeg would also follow playlists and URLs named in a file. Only containers that hold their own data are allowed.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mp3,wav,flac,aac"
_OLDEST_AV = 16  # major version of PyAV; 14 and 15 drop frames when they copy streams
_LENIENT_AV = 19  # from this major version on, metadata that is no UTF-8 is read without being asked for
_WITH_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's decoder -> one that also decodes alpha
RESTART = Fraction(1)  # seconds: a clock that goes back further has started again
_EARLY_END = Fraction(1, 2)  # seconds that streams may end before the header's duration

_log = logging.getLogger(__name__)


def load_av() -> ModuleType:
    """Imports PyAV and returns the module.

    Raises:
        PersonaLiveError: PyAV is not installed, or so old that it drops frames.
    """
    try:
        import av
    except ImportError as error:
        raise PersonaLiveError("Videos are read and written with PyAV, which is missing: pip install av") from error
    if _major(av) < _OLDEST_AV:
        raise PersonaLiveError(f"PyAV {_OLDEST_AV} or newer is needed, but {av.__version__} is here: pip install -U av")
    return av


def _major(av: ModuleType) -> int:
    return int(av.__version__.split(".")[0])


def open_media(path: Path) -> InputContainer:
    """Opens the media file at `path`; the container is a context manager.

    Raises:
        InputError: there is no such file, it is empty, or FFmpeg cannot read it.
    """
    av = load_av()
    check_file(path)
    limits = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    lenient = {} if _major(av) >= _LENIENT_AV else {"metadata_errors": "replace"}
    try:
        container: InputContainer = av.open(f"file:{path}", container_options=limits, **lenient)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a video that can be read ({getattr(error, 'strerror', error)}): it is damaged, cut off, "
            "or of another kind; export it again, best as mp4."
        ) from error
    return container


def moving_pictures(container: InputContainer) -> list[VideoStream]:
    """The video streams, the default one first; without the cover images of music files and the seek bar's thumbnails.

    A file may mark a stream that is not its first as the default.
    """
    from av.stream import Disposition

    still = Disposition.attached_pic | Disposition.timed_thumbnails
    return default_first(stream for stream in container.streams.video if not stream.disposition & still)


def default_first(streams: Iterable[_S]) -> list[_S]:
    """The streams in the order in which a player would choose them: those marked as default, then the others."""
    from av.stream import Disposition

    return sorted(streams, key=lambda stream: not stream.disposition & Disposition.default)


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first of `moving_pictures` that can be decoded, ready to decode.

    Raises:
        InputError: there is no such stream.
    """
    streams = moving_pictures(container)
    if not streams:
        found = "only sound" if container.streams.audio else "no stream that is known"
        raise InputError(f"{path} holds {found}, but moving pictures are needed: choose a video.")
    known = [stream for stream in streams if stream.codec_context is not None]
    if not known:
        raise InputError(f"{path} is in a format that cannot be decoded here: export it again as mp4 (H.264).")
    known[0].thread_type = "AUTO"
    return known[0]


def time_base(stream: Stream) -> Fraction:
    """Seconds per tick of the stream's clock."""
    return Fraction(stream.time_base or Fraction(1, 10**6))


def first_frame(frames: Iterator[VideoFrame], damage: list[str], path: Path) -> VideoFrame:
    """The first of `frames`, which come from `decode`; its list `damage` explains an error.

    Raises:
        InputError: there is no frame.
    """
    frame = next(frames, None)
    if frame is None:
        found = damage[0] if damage else "its video stream is empty"
        raise InputError(f"{path} gives not one frame ({found}): it is damaged or cut off; export it again.")
    return frame


def seek(container: InputContainer, stream: Stream, tick: int) -> bool:
    """Seeks to a key frame at or before `tick` on the stream's clock; returns False if the container cannot seek."""
    try:
        container.seek(tick, stream=stream)
    except load_av().FFmpegError:
        return False
    return True


def decode(container: InputContainer, stream: VideoStream, damage: list[str]) -> Iterator[VideoFrame]:
    """Yields the frames of `stream` in display order; appends a description of each loss to `damage`."""
    av = load_av()
    decoder = _decoder(stream)
    for packet in _packets(container, stream, damage):
        try:
            yield from decoder.decode(packet)
        except av.FFmpegError as error:
            damage.append(f"a part that does not decode: {error.strerror}")


def _decoder(stream: VideoStream) -> VideoCodecContext:
    """The stream's decoder, or, as FFmpeg's own drop the alpha of VP8 and VP9, libvpx's for a stream that has one."""
    tags = {key.lower(): value for key, value in stream.metadata.items()}
    context = stream.codec_context
    if tags.get("alpha_mode") != "1" or context.name not in _WITH_ALPHA:
        return context
    try:
        decoder: VideoCodecContext = load_av().CodecContext.create(_WITH_ALPHA[context.name], "r")
    except ValueError:  # PyAV's name for a codec that its FFmpeg was built without
        warn_once(_log, "This PyAV has no libvpx, so a film's transparency is lost: hidden colours may show.")
        return context
    decoder.extradata = context.extradata
    return decoder


def _packets(container: InputContainer, stream: VideoStream, damage: list[str]) -> Iterator[Packet[Any] | None]:
    """Yields the intact packets of `stream`, then None to drain the decoder; appends each loss to `damage`."""
    av = load_av()
    end = Fraction(0)
    joined = container.format.name == "mpegts"  # where two files were joined, it calls a whole packet corrupt
    doubtful: Packet[Any] | None = None
    try:
        for packet in container.demux():
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream_index != stream.index or not packet.size:
                continue
            if doubtful is not None:
                yield doubtful
                doubtful = None
            if packet.is_corrupt and joined:
                doubtful = packet
            elif packet.is_corrupt:
                damage.append("an incomplete part")
            else:
                yield packet
    except av.FFmpegError as error:
        damage.append(f"no more can be read: {error.strerror}")
    if doubtful is not None:
        damage.append("an incomplete part")
    total = Fraction((container.start_time or 0) + (container.duration or 0), 10**6)
    if end < total - _EARLY_END:
        damage.append(f"it ends after {float(end):.1f} of {float(total):.1f} seconds")
    yield None
