"""Reads the driving input, a VIDEO or an IMAGE batch, as frames with times and sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any

import torch
from comfy_api.v0_0_2 import InputImpl

from ...personalive_core.errors import InputError
from ...personalive_core.media.video import FOLDER_RATE, Frame, probe, read_frames, resample
from .folders import as_file, as_sound
from .sockets import Footage, to_picture


@dataclass(frozen=True, eq=False)
class DrivingFrames:
    """The driving's frames, read lazily; only the first is read already."""

    frames: Iterator[Frame]  # those after `first`
    first: Frame
    rate: Fraction  # frames per second
    total: int  # an estimate, for the progress bar
    footage: Footage | None


def open_frames(driving: Any, start: float, count: int, frame_rate: float) -> DrivingFrames:
    """Opens a VIDEO or an IMAGE batch, cut and resampled.

    `start` is in seconds; `count` is the most frames to take, 0 for all; `frame_rate` is in frames per second, 0 for
    the video's own (25 for images). Raises InputError if no frame is left.
    """
    begin, wanted = Fraction(start).limit_denominator(1000), count or None
    rate = Fraction(frame_rate).limit_denominator(1000) or None
    if isinstance(driving, torch.Tensor):  # images have no timestamps: the rate defines them
        own = rate or FOLDER_RATE
        frames, seconds, footage = in_memory(driving, own, begin), len(driving) / own, None
    elif isinstance(driving, InputImpl.VideoFromComponents):
        components = driving.get_components()
        own = Fraction(components.frame_rate)
        frames, seconds = in_memory(components.images, own, begin), len(components.images) / own
        frames, own = (resample(frames, rate, begin), rate) if rate else (frames, own)
        footage = Footage(as_sound(components.audio), begin, pictures=False) if components.audio else None
    else:
        path = as_file(driving)
        info = probe(path)
        frames, own = read_frames(path, begin, None, rate), rate or info.rate
        seconds, footage = info.duration or begin, Footage(path, begin)
    frames = islice(frames, wanted)
    first = next(frames, None)
    if first is None:
        raise InputError(f"the driving has no frame at {start:g} s: choose an earlier start")
    total = max(round((seconds - begin) * own), 1)
    footage = footage and replace(footage, start=first.time)  # the sound begins with the first picture
    return DrivingFrames(frames, first, own, min(total, wanted or total), footage)


def in_memory(images: torch.Tensor, rate: Fraction, begin: Fraction) -> Iterator[Frame]:
    """Converts images [F, H, W, C] to frames from `begin` seconds on, one at a time, to hold one uint8 copy only."""
    times = (index / rate for index in range(len(images)))
    return (
        Frame(to_picture(image), time, 1 / rate) for image, time in zip(images, times, strict=True) if time >= begin
    )
