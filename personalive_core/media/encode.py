"""The video track of a file being written: encodes timed RGB frames as H.264, VP9 or ProRes packets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .decode import load_av
from .rgb import SCALER

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_CLOCK = 90_000  # ticks per second, at least; one millisecond is a whole number of ticks
_FINEST = 360_000  # with a finer clock, pauses would soon be too long for mp4
LONGEST = 2**31 - 2  # ticks from one frame to the next that mp4 and mov can hold: 1.6 to 6.6 hours
_BT709, _LIMITED = 1, 1  # colour description and range (ITU-T H.273) that players assume
_LOOKAHEAD = Fraction(1, 4), 8  # seconds, frames: x264 holds back the lesser of the two, which a killed process loses


@dataclass(frozen=True)
class Codec:
    """How pictures are encoded, and in which containers."""

    encoder: str  # FFmpeg's name
    pixels: str  # FFmpeg's pixel format
    containers: tuple[str, ...]  # suffixes, the usual one first
    options: Mapping[str, str]
    sound: str  # FFmpeg's name of the encoder of the sound beside it
    crf: int | None = None  # the usual quality, where the encoder has the option `crf`; less is better
    most_crf: int = 0

    @property
    def is_rgb(self) -> bool:
        return self.pixels == "rgb24"


# No B-frames: a file cut anywhere plays to its end, and frames leave the encoder in input order. Threads share each
# frame, instead of holding one back each.
_X264 = {"bf": "0", "x264-params": "sync-lookahead=0:sliced-threads=1"}
_VP9 = {"b": "0", "deadline": "realtime", "cpu-used": "4", "row-mt": "1", "lag-in-frames": "0"}
_H264_FILES = (".mp4", ".mov", ".mkv")
CODECS: Mapping[str, Codec] = {
    "h264": Codec("libx264", "yuv420p", _H264_FILES, {"preset": "medium", **_X264}, "aac", crf=17, most_crf=51),
    "lossless": Codec("libx264rgb", "rgb24", _H264_FILES, {"qp": "0", "preset": "veryfast", **_X264}, "alac"),
    "vp9": Codec("libvpx-vp9", "yuv420p", (".webm", ".mkv"), _VP9, "libopus", crf=20, most_crf=63),
    "prores": Codec("prores_ks", "yuv422p10le", (".mov", ".mkv"), {"profile": "hq", "vendor": "apl0"}, "pcm_s16le"),
}


def codec_for(suffix: str, name: str | None, lossless: bool, crf: int | None) -> Codec:
    """The codec called `name`, or the usual one for files with this suffix, with its quality set to `crf`.

    Raises:
        InputError: an unknown codec, one that such a file cannot hold, or a quality that it does not have.
    """
    chosen = (
        "lossless" if lossless else name or next(key for key, codec in CODECS.items() if suffix in codec.containers)
    )
    if chosen not in CODECS:
        raise InputError(f"a codec is one of {', '.join(CODECS)}, not {chosen!r}: choose one of these")
    codec = CODECS[chosen]
    if suffix not in codec.containers:
        raise InputError(
            f"{suffix} cannot hold {chosen}: write {' or '.join(codec.containers)}, or choose another codec"
        )
    if crf is not None and (codec.crf is None or not 0 <= crf <= codec.most_crf):
        has = f"a crf from 0 to {codec.most_crf}" if codec.crf is not None else "no crf"
        raise InputError(f"{chosen} has {has}, not {crf}: change it or leave it out")
    if codec.crf is None:
        return codec
    return replace(codec, options={**codec.options, "crf": str(codec.crf if crf is None else crf)})


class VideoTrack:
    """The video track of `output`: BT.709 with even width and height, or lossless RGB."""

    def __init__(self, output: OutputContainer, size: tuple[int, int], rate: Fraction, codec: Codec) -> None:
        """Adds the track to `output`, before its first packet; `size` is (width, height)."""
        options = dict(codec.options)
        if "x264-params" in options:
            options["rc-lookahead"] = str(min(int(rate * _LOOKAHEAD[0]), _LOOKAHEAD[1]))
        stream = cast("VideoStream", output.add_stream(codec.encoder, rate=rate, options=options))
        width, height = size if codec.is_rgb else (size[0] + size[0] % 2, size[1] + size[1] % 2)
        stream.width, stream.height = width, height
        stream.pix_fmt = codec.pixels
        context = stream.codec_context
        context.gop_size = math.ceil(rate)  # one key frame per second, for seeking
        self.clock = _clock(rate)
        context.time_base = Fraction(1, self.clock)
        if not codec.is_rgb:
            context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._stream, self._codec = stream, codec
        self._ticks: deque[int] = deque()  # of the frames whose packets have not been given out
        self._held: deque[Packet[Any]] = deque()

    def put(self, image: NDArray[np.uint8], tick: int) -> Iterator[Packet[Any]]:
        """Encodes `image` [H, W, 3], shown from `tick`; yields the packets of earlier frames that are ready."""
        frame = self._converted(image)
        frame.pts, frame.time_base = tick, Fraction(1, self.clock)
        self._ticks.append(tick)
        self._held.extend(self._stream.encode(frame))
        yield from self._timed()

    def flush(self, length: int) -> Iterator[Packet[Any]]:
        """Yields the packets that are left; the last frame lasts `length` ticks."""
        self._held.extend(self._stream.encode(None))
        if self._ticks:
            self._ticks.append(self._ticks[-1] + length)
        yield from self._timed()

    def _timed(self) -> Iterator[Packet[Any]]:
        """Yields the packets whose next frame is known, each with its duration: the encoder's own is 1 / rate."""
        while self._held and len(self._ticks) > 1:
            packet, tick = self._held.popleft(), self._ticks.popleft()
            packet.duration = self._ticks[0] - tick
            yield packet

    def _converted(self, image: NDArray[np.uint8]) -> VideoFrame:
        rgb, odd = self._codec.is_rgb, (image.shape[0] % 2, image.shape[1] % 2)
        if not rgb and any(odd):
            image = np.pad(image, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")
        frame: VideoFrame = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        if rgb:
            return frame
        return frame.reformat(
            format=self._codec.pixels, dst_colorspace=_BT709, dst_color_range=_LIMITED, interpolation=SCALER
        )


def _clock(rate: Fraction) -> int:
    """Ticks per second of which a frame at `rate` is a whole number, unless that takes too many."""
    clock = rate.numerator * math.ceil(_CLOCK / rate.numerator)
    return clock if clock <= _FINEST else _CLOCK
