"""Times and durations of decoded frames, from their timestamps and what the container tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from .decode import RESTART, time_base

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

FOLDER_RATE = Fraction(25)  # frames per second of a folder of pictures, which have no timestamps
_NOMINAL = 0.01  # relative difference up to which the nominal rate is used instead of the measured average
_TAG_ROUNDING = Fraction(1, 500)  # seconds


def with_times(
    frames: Iterator[VideoFrame], container: InputContainer, stream: VideoStream, origin: int
) -> Iterator[tuple[VideoFrame, Fraction, Fraction]]:
    """Yields each frame with its time since tick `origin` and its duration: until the next frame, or its own."""
    held: tuple[VideoFrame, Fraction] | None = None
    tick, usual, shift = time_base(stream), 1 / stream_rate(stream), Fraction(0)
    for frame in frames:
        time = None if frame.pts is None else (frame.pts - origin) * tick + shift
        if held is None:
            time = time or Fraction(0)
        else:
            after = held[1] + usual
            if time is not None and time < held[1] - RESTART:  # joined files: the second one's clock starts again
                shift, time = shift + after - time, after
            # Broken files: a frame with no time, or not later than the previous one, gets the previous time + 1 / rate.
            time = time if time is not None and time > held[1] else after
            yield *held, time - held[1]
        held = frame, time
    if held is not None:
        own = (held[0].duration or 0) * tick  # in Matroska often only the usual one
        told = told_end(container, stream) - origin * tick - held[1] if "matroska" in container.format.name else 0
        yield *held, Fraction(told) if told > 0 else own or usual


def told_end(container: InputContainer, stream: Stream) -> Fraction:
    """The end of the stream in seconds as the container tells it; 0 where it does not, or only roughly.

    Matroska files tell it in a tag, as they hold few frames' durations. In mp4 and mov it is exact.
    """
    if "mp4" in container.format.name and stream.duration and stream.start_time is not None:
        return (stream.start_time + stream.duration) * time_base(stream)
    told = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if told is None or "matroska" not in container.format.name:
        return Fraction(0)
    hours, minutes, seconds = (Fraction(part) for part in told.groups())
    end = (hours * 60 + minutes) * 60 + seconds
    whole = Fraction(container.duration or 0, 10**6)
    return end if end <= whole + _TAG_ROUNDING else Fraction(0)  # a tag from before the file was cut


def stream_rate(stream: VideoStream) -> Fraction:
    """Frames per second: the nominal rate, or the average if the rate varies."""
    average = Fraction(stream.average_rate or stream.base_rate or FOLDER_RATE)
    nominal = Fraction(stream.base_rate or 0)
    return nominal if nominal and abs(nominal / average - 1) < _NOMINAL else average
