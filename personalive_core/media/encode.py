"""The video track of a file being written: encodes timed RGB frames as H.264 packets."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .decode import SCALER, load_av

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_CLOCK = 90_000  # ticks per second; one frame at the usual rates, or one millisecond, is a whole number of ticks
_MAX_CLOCK = 2**31 - 1  # the largest value that an mp4 header can hold
_BT709, _LIMITED = 1, 1  # colour description and range (ITU-T H.273) that players assume
# No B-frames: a file cut anywhere plays to its end, and frames leave the encoder in input order.
# crf 17: visually lossless.
_FAITHFUL = {"crf": "17", "preset": "medium", "bf": "0"}
_LOSSLESS = {"qp": "0", "preset": "veryfast", "bf": "0"}


class VideoTrack:
    """The H.264 track of `output`: 4:2:0 BT.709 with even width and height, or lossless RGB."""

    def __init__(self, output: OutputContainer, size: tuple[int, int], rate: Fraction, lossless: bool) -> None:
        """Adds the track to `output`, before its first packet; `size` is (width, height)."""
        stream: VideoStream = output.add_stream(
            "libx264rgb" if lossless else "libx264", rate=rate, options=_LOSSLESS if lossless else _FAITHFUL
        )
        width, height = size if lossless else (size[0] + size[0] % 2, size[1] + size[1] % 2)
        stream.width, stream.height = width, height
        stream.pix_fmt = "rgb24" if lossless else "yuv420p"
        context = stream.codec_context
        context.gop_size = math.ceil(rate)  # one key frame per second, for seeking; also limits x264's lookahead
        clock = math.lcm(_CLOCK, rate.numerator)
        self.clock = clock if clock <= _MAX_CLOCK else _CLOCK
        context.time_base = Fraction(1, self.clock)
        if not lossless:
            context.colorspace = context.color_primaries = context.color_trc = _BT709
        self._stream, self._lossless = stream, lossless

    def put(self, image: NDArray[np.uint8], tick: int) -> list[Packet[Any]]:
        """Encodes `image` [H, W, 3], shown from `tick`; returns the packets that are ready."""
        frame = self._converted(image)
        frame.pts, frame.time_base = tick, Fraction(1, self.clock)
        return self._stream.encode(frame)

    def flush(self) -> list[Packet[Any]]:
        """Returns the packets that the encoder still holds; the last frame lasts 1 / rate."""
        return self._stream.encode(None)

    def _converted(self, image: NDArray[np.uint8]) -> VideoFrame:
        if not self._lossless and (image.shape[0] % 2 or image.shape[1] % 2):
            image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        frame: VideoFrame = load_av().VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        if self._lossless:
            return frame
        return frame.reformat(format="yuv420p", dst_colorspace=_BT709, dst_color_range=_LIMITED, interpolation=SCALER)
