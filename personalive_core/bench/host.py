"""The CPU's part of a window: film decoded, frames cropped, pictures taken from the device and encoded."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from ..backends.personalive.pictures import to_pictures
from ..backends.personalive.types import STREAM
from ..drawn.sample import RATE
from ..errors import PersonaLiveError
from ..media.video import read_frames
from ..media.write import VideoWriter, WriteOptions
from .figures import HostStage
from .loop import drawn_frames
from .measure import median_seconds
from .options import BenchOptions
from .stages import cropped

WINDOWS = 8  # of the film that is encoded and decoded


def measure_host(options: BenchOptions) -> tuple[HostStage, ...]:
    """Seconds of the CPU's stages for one window of frames; encoding and decoding need PyAV."""
    size, window, cpu = options.size, STREAM.window, torch.device("cpu")
    same, larger = drawn_frames(size, 1.0), drawn_frames(size)
    pixels = torch.rand(window, 3, size, size, generator=torch.Generator().manual_seed(0)).to(options.device)
    stages = {
        "crop, frames of the picture's size": lambda: cropped(same[:window], size),
        f"crop, frames of {larger[0].shape[0]} pixels": lambda: cropped(larger[:window], size),
        "pictures to the CPU": lambda: to_pictures(pixels, options.precision),
    }
    timed = tuple(HostStage(name, median_seconds(call, options.repeats, cpu)) for name, call in stages.items())
    return *timed, *_film(same, options.repeats)


def _film(frames: list[np.ndarray], repeats: int) -> Iterator[HostStage]:
    cpu = torch.device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"

        def encode() -> None:
            with VideoWriter(path, (frames[0].shape[1], frames[0].shape[0]), WriteOptions(Fraction(RATE))) as writer:
                for index in range(WINDOWS * STREAM.window):
                    writer.write(frames[index % len(frames)], Fraction(index, RATE))

        def decode() -> None:
            for _ in read_frames(path):
                pass

        try:
            for name, call in (("encode", encode), ("decode", decode)):
                yield HostStage(name, median_seconds(call, repeats, cpu) / WINDOWS)
        except (ImportError, PersonaLiveError):  # no PyAV, or a build of it without the encoder
            yield from (HostStage(name, None) for name in ("encode", "decode"))
