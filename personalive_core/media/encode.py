"""The video track of a file being written: encodes timed RGB frames as H.264 packets."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

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
# No B-frames: a file cut anywhere plays to its end, and frames leave the encoder in input order.
# crf 17: visually lossless. Few frames are held back, so that few are lost if the process is killed: those that x264
# looks ahead, none for the lookahead's thread or, as threads share each frame, for the others.
_PROMPT = {"bf": "0", "x264-params": "sync-lookahead=0:sliced-threads=1"}
_LOOKAHEAD = Fraction(1, 4), 8  # seconds, frames: the lesser of the two
_FAITHFUL = {"crf": "17", "preset": "medium", **_PROMPT}
_LOSSLESS = {"qp": "0", "preset": "veryfast", **_PROMPT}


class VideoTrack:
    """The H.264 track of `output`: 4:2:0 BT.709 with even width and height, or lossless RGB."""

    def __init__(self, output: OutputContainer, size: tuple[int, int], rate: Fraction, lossless: bool) -> None:
        """Adds the track to `output`, before its first packet; `size` is (width, height)."""
        lookahead = min(int(rate * _LOOKAHEAD[0]), _LOOKAHEAD[1])
        options = {**(_LOSSLESS if lossless else _FAITHFUL), "rc-lookahead": str(lookahead)}
        stream: VideoStream = output.add_stream("libx264rgb" if lossless else "libx264", rate=rate, options=options)
        width, height = size if lossless else (size[0] + size[0] % 2, size[1] + size[1] % 2)
        stream.width, stream.height = width, height
        stream.pix_fmt = "rgb24" if lossless else "yuv420p"
        context = stream.codec_context
        context.gop_size = math.ceil(rate)  # one key frame per second, for seeking
        self.clock = _clock(rate)
        context.time_base = Fraction(1, self.clock)
        if not lossless:
            context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._stream, self._lossless = stream, lossless
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
        if not self._lossless and (image.shape[0] % 2 or image.shape[1] % 2):
            image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        frame: VideoFrame = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        if self._lossless:
            return frame
        return frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED, interpolation=SCALER)


def _clock(rate: Fraction) -> int:
    """Ticks per second of which a frame at `rate` is a whole number, unless that takes too many."""
    clock = rate.numerator * math.ceil(_CLOCK / rate.numerator)
    return clock if clock <= _FINEST else _CLOCK
