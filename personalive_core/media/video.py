"""Reads RGB frames one at a time: from a video file, an animation, a folder of pictures or one picture."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from .decode import decode, first_frame, open_media, seek, time_base, video_stream
from .deinterlace import progressive
from .folder import folder_files
from .label import parse_label
from .picture import (
    PICTURE_SUFFIXES,
    check_file,
    check_side,
    is_animation,
    open_picture,
    read_animation,
    read_image,
    read_picture_label,
)
from .rgb import check_colours, converter, display_size
from .timing import FOLDER_RATE, stream_rate, with_times

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

VIDEO_SUFFIXES = (  # mark a file in a folder as a video
    *(".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".gif"),
    *(".mts", ".m2ts", ".ts", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp", ".ogv"),
)
_SEEK_MARGIN = 5  # seconds; containers seek by decoding time, which differs from display time
_AHEAD = Fraction(1, 20)  # seconds that resampling shows a picture early at most, though it may be the nearest

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Frame:
    """One RGB image and its display time."""

    image: NDArray[np.uint8]  # [H, W, 3] RGB
    time: Fraction  # seconds since the first frame of the file
    duration: Fraction | None = None  # seconds until the next frame, or the end of the pictures; None: not known


@dataclass(frozen=True)
class VideoInfo:
    """The properties of a video that are known before its frames are read."""

    width: int  # pixels as displayed: after rotation and with square pixels
    height: int
    rate: Fraction  # frames per second; the average if the rate varies
    frames: int | None  # an estimate from the header; the exact count is known only after reading
    duration: Fraction | None  # seconds
    has_audio: bool


def probe(path: str | Path) -> VideoInfo:
    """Reads the properties from the header and the first frame of `path`; see `read_frames` for the formats.

    Raises:
        InputError: as `read_frames` does.
    """
    path = Path(path)
    if is_pictures(path):
        return _probe_pictures(path)
    with open_media(path) as container:
        stream = video_stream(container, path)
        damage: list[str] = []
        first = first_frame(decode(container, stream, damage), damage, path)
        width, height = display_size(first, stream)
        check_colours(first, path)
        rate = stream_rate(stream)
        duration = _duration(container, stream)
        # Not the header's own count: it includes frames that an edit list hides.
        frames = round(duration * rate) if duration else stream.frames or None
        return VideoInfo(width, height, rate, frames, duration, bool(container.streams.audio))


def read_frames(
    path: str | Path, start: float | Fraction = 0, count: int | None = None, rate: Fraction | None = None
) -> Iterator[Frame]:
    """Yields every frame that a player would show, in display order, with its own time and duration; memory is O(1).

    Reads mp4, mov, mkv, webm, avi and MPEG, animated GIF, WebP, PNG and AVIF, a still picture (one frame), and a folder
    of pictures (in natural order: 2 before 10). The pictures are upright sRGB with square pixels: rotation, mirroring
    and colour profiles are applied, wide gamuts are mapped, interlaced film is deinterlaced, alpha is composed over
    black. HDR is mapped to SDR if PyAV supports it (18 or later).

    Args:
        path: a file or a folder.
        start: seconds since the first frame; earlier frames are left out.
        count: the maximum number of frames.
        rate: None yields each frame once. A number resamples to that many frames per second, nearest in time, so that
            frames are repeated or left out; the last takes what is left of the time. For a folder it is the rate of
            the pictures (25 if None).

    Raises:
        InputError: at the call or at the first `next`: an argument is out of range, the path does not exist, is
            empty, holds no pictures, or none that decodes, or a side is under 32 pixels. A file that breaks off later
            only logs a warning.
    """
    path, start = Path(path), Fraction(start).limit_denominator(10**6)
    if start < 0 or (count is not None and count < 0) or (rate is not None and rate <= 0):
        raise InputError(f"start and count must be 0 or more and rate above 0, not {start}, {count} and {rate}.")
    if path.is_dir():
        frames = _folder_frames(path, Fraction(rate or FOLDER_RATE))
    else:
        frames = _picture_frames(path) if is_pictures(path) else _video_frames(path, start)
    frames = (frame for frame in frames if frame.time >= start)
    if rate is not None and not path.is_dir():
        frames = resample(frames, Fraction(rate), start)
    return islice(frames, count)


def read_label(path: str | Path) -> dict[str, str]:
    """The facts that `VideoWriter` or `write_image` stored in the file's metadata; empty if there are none.

    Raises:
        InputError: the file is neither a picture nor a video.
    """
    path = Path(path)
    if is_pictures(path):
        return read_picture_label(path)
    with open_media(path) as container:
        stored = {key.lower(): value for key, value in container.metadata.items()}
    return parse_label(stored.get("description", ""))


def is_pictures(path: Path) -> bool:
    """True if Pillow reads `path`: a folder, a picture or an animation.

    Raises InputError if the file is missing or empty, or has the suffix of a picture but holds none.
    """
    if path.is_dir():
        return True
    check_file(path)
    image = open_picture(path)
    if image is not None:
        image.close()
    elif path.suffix.lower() in PICTURE_SUFFIXES:
        raise InputError(f"{path} is named {path.suffix} but holds no such picture: save it as PNG or JPEG.")
    return image is not None


def _picture_frames(path: Path) -> Iterator[Frame]:
    image = open_picture(path)
    if image is None or not is_animation(image):
        yield Frame(read_image(path), Fraction(0), 1 / FOLDER_RATE)
        return
    image.close()
    time = Fraction(0)
    for array, seconds in read_animation(path):
        check_side(path, array.shape[1], array.shape[0])
        yield Frame(array, time, seconds)
        time += seconds


def _folder_pictures(folder: Path) -> list[Path]:
    """The pictures in `folder` in natural order (2 before 10). Raises InputError if there are none."""

    def natural(file: Path) -> list[tuple[int, int, str]]:
        parts = re.split(r"(\d+)", file.name.lower())
        return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]

    return sorted(folder_files(folder, PICTURE_SUFFIXES, "picture"), key=natural)


def _folder_frames(folder: Path, rate: Fraction) -> Iterator[Frame]:
    shape: tuple[int, ...] | None = None
    for index, file in enumerate(_folder_pictures(folder)):
        image = read_image(file)
        shape = shape or image.shape
        if image.shape != shape:
            raise InputError(
                f"{file} is {image.shape[1]}x{image.shape[0]} pixels, but the first picture of its folder is "
                f"{shape[1]}x{shape[0]}: make them equal."
            )
        yield Frame(image, index / rate, 1 / rate)


def _probe_pictures(path: Path) -> VideoInfo:
    if path.is_dir():
        files = _folder_pictures(path)
        height, width, _ = read_image(files[0]).shape
        return VideoInfo(width, height, FOLDER_RATE, len(files), len(files) / FOLDER_RATE, False)
    image = open_picture(path)
    if image is None or not is_animation(image):
        height, width, _ = read_image(path).shape
        return VideoInfo(width, height, FOLDER_RATE, 1, 1 / FOLDER_RATE, False)
    with image:
        width, height = image.size
    check_side(path, width, height)
    seconds = [seconds for _, seconds in read_animation(path)]
    duration = sum(seconds, Fraction(0))
    return VideoInfo(width, height, len(seconds) / duration, len(seconds), duration, False)


def _video_frames(path: Path, start: Fraction) -> Iterator[Frame]:
    damage: list[str] = []
    count = 0
    with open_media(path) as container:
        stream = video_stream(container, path)
        frames = decode(container, stream, damage)
        first = first_frame(frames, damage, path)
        to_rgb, origin = converter(first, stream, path), first.pts or 0
        check_side(path, *to_rgb.size)
        if start > _SEEK_MARGIN and seek(container, stream, origin + int((start - _SEEK_MARGIN) / time_base(stream))):
            frames = decode(container, stream, damage)
        else:
            frames = chain([first], frames)
        for frame, time, duration in with_times(progressive(frames, stream, path), container, stream, origin):
            count += 1
            if time >= start:
                yield Frame(to_rgb(frame), time, duration)
    if damage:
        _log.warning("%s is damaged or cut off (%s): %d frames could be read.", path, damage[0], count)


def resample(frames: Iterable[Frame], rate: Fraction, start: Fraction) -> Iterator[Frame]:
    """Yields `rate` frames per second from `start`, nearest in time; together they last as long as `frames`.

    A picture comes at most `_AHEAD` seconds early: a long pause is not cut in the middle.
    """
    shown, held, given, end = None, None, 0, start
    for frame in frames:
        if shown is not None:
            early = min((frame.time - shown.time) / 2, _AHEAD)
            until = math.floor((frame.time - early - start) * rate) + 1
            for index in range(given, until):
                if held is not None:
                    yield held
                held = Frame(shown.image, start + index / rate, 1 / rate)
            given = max(given, until)
        shown, end = frame, frame.time + (frame.duration or 1 / rate)
    if shown is not None:
        for index in range(given, max(1, round((end - start) * rate))):
            if held is not None:
                yield held
            held = Frame(shown.image, start + index / rate, 1 / rate)
    if held is not None:  # the last takes what is left of the time
        yield replace(held, duration=end - held.time if end > held.time else 1 / rate)


def _duration(container: InputContainer, stream: VideoStream) -> Fraction | None:
    if stream.duration is not None:
        return stream.duration * time_base(stream)
    return Fraction(container.duration, 10**6) if container.duration else None
