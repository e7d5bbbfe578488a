"""Decodes video with PyAV for `video.py`: opens a file, decodes its frames and converts them to upright RGB."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, PersonaLiveError
from .picture import check_file, over_black

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.reformatter import VideoReformatter
    from av.video.stream import VideoStream

# FFmpeg would also follow playlists and URLs named in a file. Only containers that hold their own data are allowed.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,mp3,wav,flac,aac"
_HD_WIDTH, _HD_HEIGHT = 1280, 576  # players treat untagged video at least this wide, or above this height, as BT.709
_OLDEST_AV = 16  # major version of PyAV; 14 and 15 drop frames when they copy streams
_BT709, _BT601, _FULL_RANGE = 1, 5, 2  # colour matrices and range (ITU-T H.273)
_MATRICES = {1: _BT709, 4: 4, 5: _BT601, 6: _BT601, 7: 7, 9: 9, 10: 9}  # the tags for which swscale has coefficients
_HDR_TRANSFERS = (16, 18)  # PQ and HLG (ITU-T H.273)
SCALER = 0x4 | 0x2000 | 0x40000  # swscale flags: bicubic, full chroma, exact rounding; older PyAV cannot combine them
_EARLY_END = Fraction(1, 2)  # seconds that streams may end before the header's duration


def load_av() -> ModuleType:
    """Imports PyAV and returns the module.

    Raises:
        PersonaLiveError: PyAV is not installed, or so old that it drops frames.
    """
    try:
        import av
    except ImportError as error:
        raise PersonaLiveError("Videos are read and written with PyAV, which is missing: pip install av") from error
    if int(av.__version__.split(".")[0]) < _OLDEST_AV:
        raise PersonaLiveError(f"PyAV {_OLDEST_AV} or newer is needed, but {av.__version__} is here: pip install -U av")
    return av


def open_media(path: Path) -> InputContainer:
    """Opens the media file at `path`; the container is a context manager.

    Raises:
        InputError: there is no such file, it is empty, or FFmpeg cannot read it.
    """
    av = load_av()
    check_file(path)
    limits = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    try:
        container: InputContainer = av.open(f"file:{path}", container_options=limits, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is not a video that can be read ({getattr(error, 'strerror', error)}): it is damaged, cut off, "
            "or of another kind; export it again, best as mp4."
        ) from error
    return container


def moving_pictures(container: InputContainer) -> list[VideoStream]:
    """The video streams, without the cover images of music files."""
    from av.stream import Disposition

    return [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]


def video_stream(container: InputContainer, path: Path) -> VideoStream:
    """The first video stream that is no cover image, ready to decode.

    Raises:
        InputError: there is no such stream, or no decoder for it.
    """
    streams = moving_pictures(container)
    if not streams:
        found = "only sound" if container.streams.audio else "no stream that is known"
        raise InputError(f"{path} holds {found}, but moving pictures are needed: choose a video.")
    if streams[0].codec_context is None:
        raise InputError(f"{path} is in a format that cannot be decoded here: export it again as mp4 (H.264).")
    streams[0].thread_type = "AUTO"
    return streams[0]


def time_base(stream: Stream) -> Fraction:
    """Seconds per tick of the stream's clock."""
    return stream.time_base or Fraction(1, 10**6)


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


def seek(container: InputContainer, stream: VideoStream, tick: int) -> bool:
    """Seeks to a key frame at or before `tick` on the stream's clock; returns False if the container cannot seek."""
    try:
        container.seek(tick, stream=stream)
    except load_av().FFmpegError:
        return False
    return True


def decode(container: InputContainer, stream: VideoStream, damage: list[str]) -> Iterator[VideoFrame]:
    """Yields the frames of `stream` in display order; appends a description of each loss to `damage`."""
    av = load_av()
    decoder = stream.codec_context
    if decoder.name == "vp9" and stream.metadata.get("alpha_mode") == "1":
        decoder = av.CodecContext.create("libvpx-vp9", "r")  # FFmpeg's own decoder drops the alpha
    for packet in _packets(container, stream, damage):
        try:
            yield from decoder.decode(packet)
        except av.FFmpegError as error:
            damage.append(f"a part that does not decode: {error.strerror}")


def _packets(container: InputContainer, stream: VideoStream, damage: list[str]) -> Iterator[Packet[Any] | None]:
    """Yields the intact packets of `stream`, then None to drain the decoder; appends each loss to `damage`."""
    av = load_av()
    end = Fraction(0)
    try:
        for packet in container.demux():
            if packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.is_corrupt:
                damage.append("an incomplete part")
            elif packet.stream_index == stream.index and packet.size:
                yield packet
    except av.FFmpegError as error:
        damage.append(f"no more can be read: {error.strerror}")
    total = Fraction((container.start_time or 0) + (container.duration or 0), 10**6)
    if end < total - _EARLY_END:
        damage.append(f"it ends after {float(end):.1f} of {float(total):.1f} seconds")
    yield None


def _quarter_turns(frame: VideoFrame) -> int:
    """Counterclockwise quarter turns (0 to 3) that bring the frame upright."""
    return round(frame.rotation / 90) % 4


def display_size(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """(width, height) as displayed: upright and with square pixels."""
    width = max(1, round(frame.width * (stream.sample_aspect_ratio or 1)))
    return (frame.height, width) if _quarter_turns(frame) % 2 else (width, frame.height)


def new_scaler() -> VideoReformatter:
    """Creates the `scaler` of `frame_to_rgb`; one is enough for a whole video."""
    load_av()
    from av.video.reformatter import VideoReformatter

    return VideoReformatter()


def frame_to_rgb(frame: VideoFrame, size: tuple[int, int], scaler: VideoReformatter) -> NDArray[np.uint8]:
    """Converts a frame to RGB [H, W, 3] of `size` (width, height), upright, with alpha composed over black.

    The frame's own colour matrix and range are used. HDR (PQ, HLG) is mapped to BT.709 if PyAV reports it. Use the same
    `scaler` for all frames of a video: preparing it takes longer than converting a frame.
    """
    turns = _quarter_turns(frame)
    width, height = size[::-1] if turns % 2 else size
    has_alpha = any(component.is_alpha for component in frame.format.components)
    hd = frame.width >= _HD_WIDTH or frame.height > _HD_HEIGHT
    matrix = _MATRICES.get(frame.colorspace, _BT709 if hd else _BT601)
    hdr = getattr(frame, "color_trc", None) in _HDR_TRANSFERS
    converted = scaler.reformat(
        frame,
        width,
        height,
        "rgba" if has_alpha else "rgb24",
        src_colorspace=matrix,
        src_color_range=frame.color_range,
        dst_colorspace=_BT601,  # meaningless for RGB, but PyAV before 17 ignores src_colorspace unless they differ
        dst_color_range=_FULL_RANGE,
        interpolation=SCALER,
        **({"dst_color_trc": _BT709, "dst_color_primaries": _BT709} if hdr else {}),
    )
    array = np.asarray(converted.to_ndarray(), np.uint8)
    upright = np.rot90(over_black(array) if has_alpha else array, turns)
    return np.ascontiguousarray(upright)
