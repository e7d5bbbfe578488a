"""Reads the driving input, a VIDEO or an IMAGE batch, as frames with times and sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from comfy_api.v0_0_2 import InputImpl

from ...personalive_core.errors import InputError
from ...personalive_core.media.video import FOLDER_RATE, Frame, probe, read_frames, resample
from .folders import as_file, as_sound, is_edited, trim_window
from .sockets import Footage, to_picture


@dataclass(frozen=True, eq=False)
class DrivingFrames:
    """The driving's frames, read lazily; only the first is read already."""

    frames: Iterator[Frame]  # those after `first`
    first: Frame
    rate: Fraction  # frames per second
    total: int  # an estimate, for the progress bar
    footage: Footage | None


def open_frames(driving: Any, start: float, count: int, frame_rate: float, name: str = "the driving") -> DrivingFrames:
    """Opens a VIDEO or an IMAGE batch, cut and resampled; error messages call it `name`.

    `start` is in seconds; `count` is the most frames to take, 0 for all; `frame_rate` is in frames per second, 0 for
    the video's own (25 for images). Raises InputError if no frame is left.
    """
    begin, wanted = Fraction(start).limit_denominator(1000), count or None
    rate = Fraction(frame_rate).limit_denominator(1000) or None
    if isinstance(driving, torch.Tensor):  # images have no timestamps: the rate defines them
        own = rate or FOLDER_RATE
        opened = Opened(in_memory(driving, own, begin), own, len(driving) / own - begin, None)
    elif is_edited(driving) or isinstance(driving, InputImpl.VideoFromComponents):
        opened = resampled(open_components(driving.get_components(), begin), rate, begin)
    else:
        window = trim_window(driving)
        begin += window[0]
        opened = resampled(open_file(as_file(driving), begin, window[1]), rate, begin)
    frames = islice(opened.frames, wanted)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{name} has no frame at {start:g} s: choose an earlier start")
    total = max(round(opened.seconds * opened.rate), 1)
    footage = opened.footage and replace(opened.footage, start=first.time)  # the sound begins with the first picture
    return DrivingFrames(frames, first, opened.rate, min(total, wanted or total), footage)


@dataclass(frozen=True, eq=False)
class Opened:
    """A driving before its first frame is read."""

    frames: Iterator[Frame]
    rate: Fraction  # frames per second
    seconds: Fraction  # an estimate of how long it is
    footage: Footage | None


def open_components(components: Any, begin: Fraction) -> Opened:
    """The frames from `begin` on, in seconds, of a VIDEO's parts in memory."""
    rate = Fraction(components.frame_rate)
    footage = Footage(as_sound(components.audio), begin, pictures=False) if components.audio else None
    images = components.images
    return Opened(in_memory(images, rate, begin), rate, len(images) / rate - begin, footage)


def open_file(path: Path, begin: Fraction, end: Fraction | None) -> Opened:
    """The frames of a film from `begin` to `end`, in seconds since its first frame; None: to its end."""
    info = probe(path)
    last = info.duration or begin
    frames = read_frames(path, begin)
    if end is not None:
        frames, last = until(frames, end), min(last, end)
    return Opened(frames, info.rate, last - begin, Footage(path, begin))


def resampled(opened: Opened, rate: Fraction | None, begin: Fraction) -> Opened:
    """The same at `rate` frames per second from `begin` on; None: as it is."""
    return replace(opened, frames=resample(opened.frames, rate, begin), rate=rate) if rate else opened


def until(frames: Iterator[Frame], end: Fraction) -> Iterator[Frame]:
    """The frames that begin before `end`, in seconds; the last is shown until then at most."""
    for frame in frames:
        if frame.time >= end:
            return
        yield frame if frame.duration is None else replace(frame, duration=min(frame.duration, end - frame.time))


def in_memory(images: torch.Tensor, rate: Fraction, begin: Fraction) -> Iterator[Frame]:
    """Converts images [F, H, W, C] to frames from `begin` seconds on, one at a time, to hold one uint8 copy only."""
    times = (index / rate for index in range(len(images)))
    return (
        Frame(to_picture(image), time, 1 / rate) for image, time in zip(images, times, strict=True) if time >= begin
    )
