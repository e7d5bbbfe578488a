"""Times of a motion's frames: the unit, the convention [F + 1], and their rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction

import torch
from torch import Tensor

from ..errors import InputError

# Times of F frames are [F + 1] int64: the time of each frame since the first frame of the driving, and the end of the
# last one. In nanoseconds, rounding meets the grid of any clock again, such as 24000/1001 a second or MPEG's 1/90000 s.
SECOND = 10**9
LEAST_RATE, MOST_RATE = Fraction(1), Fraction(1000)  # frames per second of a motion file
USUAL_RATE = Fraction(25)  # frames per second where none is given
_FINEST = 1001  # largest denominator of a rate that was measured, as in 30000/1001


def to_nanoseconds(seconds: Fraction) -> int:
    """Seconds, rounded to whole nanoseconds."""
    return math.floor(seconds * SECOND + Fraction(1, 2))


def to_seconds(nanoseconds: int | Tensor) -> Fraction:
    """Nanoseconds, also as a tensor of one number, as exact seconds."""
    return Fraction(int(nanoseconds), SECOND)


def even_times(frames: int, rate: Fraction) -> Tensor:
    """Times [frames + 1] of evenly spaced frames, `rate` a second from 0 on. Raises InputError if they leave int64."""
    if to_nanoseconds(frames / rate) > torch.iinfo(torch.int64).max:
        raise InputError(f"{frames} frames at {float(rate):g} a second last too long to be timed: correct the rate")
    step, parts = 2 * SECOND * rate.denominator, 2 * rate.numerator  # in whole numbers: fractions take 20 times longer
    return torch.tensor([(step * index + rate.numerator) // parts for index in range(frames + 1)])


def times_of(shown: Iterable[tuple[Fraction, Fraction | None]], rate: Fraction) -> Tensor:
    """Times [F + 1] of frames given as (time, duration) in seconds; a last frame without duration lasts 1 / rate."""
    pairs = list(shown)
    time, duration = pairs[-1]
    end = time + (1 / rate if duration is None else duration)
    return torch.tensor([to_nanoseconds(moment) for moment in (*(time for time, _ in pairs), end)])


def time_at(times: Tensor, index: int) -> Fraction:
    """Time of frame `index` in seconds."""
    return to_seconds(times[index])


def duration_at(times: Tensor, index: int) -> Fraction:
    """Seconds from frame `index` to the next one, or to the end of the last."""
    return to_seconds(times[index + 1] - times[index])


def first_from(times: Tensor, start: float | Fraction) -> int:
    """The first frame at or after `start`, in seconds since the first frame; the number of frames if none is."""
    begin = to_nanoseconds(Fraction(start).limit_denominator(10**6))  # as `read_frames` takes it
    return int((times[:-1] - times[0] < begin).sum())


def cut_times(times: Tensor, start: int, frames: int) -> Tensor:
    """The times of `frames` frames from frame `start` on; they keep their place in the driving."""
    return times[start : start + frames + 1]


def held_times(times: Tensor, frames: int, rate: Fraction) -> Tensor:
    """The times of the first `frames` frames; if there are fewer, they go on evenly at `rate`."""
    missing = frames + 1 - len(times)
    more = even_times(missing, rate)[1:] + times[-1] if missing > 0 else times[:0]
    return torch.cat([times[: frames + 1], more])


def average_rate(times: Tensor) -> Fraction:
    """Frames per second on average."""
    return (len(times) - 1) / to_seconds(times[-1] - times[0])


def typical_rate(times: Tensor) -> Fraction:
    """Frames per second of the median step, within LEAST_RATE..MOST_RATE: a pause does not change it."""
    rate = Fraction(SECOND, int(times.diff().median()))
    return min(max(rate, LEAST_RATE), MOST_RATE).limit_denominator(_FINEST)


def usual_rate(rate: Fraction, times: Tensor) -> Fraction:
    """`rate`, or the typical one if `rate` is none that a file may hold, as the average of a film with long pauses."""
    return rate if LEAST_RATE <= rate <= MOST_RATE else typical_rate(times)
