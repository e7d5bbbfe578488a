"""Measures the stability of one long stream: PSNR, colour drift and memory, window by window."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from ..backends.personalive.model import PersonaLive
from ..device import peak_memory, reset_peak_memory
from ..drawn.landmarker import SIZE
from ..drawn.styles import REGIONS
from ..drawn.truth import Style
from ..metrics.pictures import Numbers, psnr, unit
from .cases import Case, long_index, there_and_back
from .reenactment import reenact, repeated
from .scores import region_colours

SPAN = 100  # frames per compared span: the second hundred, after a warm-up, and the last hundred
HUNDRED = 100  # frames per mean in the stored figures
EARLY = 0.2  # share of the stream that gives the first memory figure


@dataclass(frozen=True, eq=False)
class Trace:
    """Measurements of F consecutive frames."""

    psnr: Numbers  # [F] dB
    repeated: Numbers  # [F] dB, baseline: the reference repeated
    colours: Numbers  # [F, 4, 3] error of the regions' mean colours in Lab: output minus truth

    def __len__(self) -> int:
        return len(self.psnr)


@dataclass(frozen=True)
class Stability:
    """Figures of the whole stream."""

    trace: Trace
    seconds: float
    memory: tuple[int | None, int | None]  # peak bytes in the stream's first part and in the rest; None: unknown

    @property
    def spans(self) -> tuple[slice, slice]:
        """The two compared spans: after the warm-up, and at the end."""
        return spans_of(len(self.trace))

    @property
    def levels(self) -> tuple[float, float]:
        """Mean PSNR of each span, in dB."""
        first, last = (float(self.trace.psnr[rows].mean()) for rows in self.spans)
        return first, last

    @property
    def loss(self) -> float:
        """PSNR lost from the first span to the last, in dB; negative if the last is better."""
        return self.levels[0] - self.levels[1]

    @property
    def drift(self) -> dict[str, float]:
        """Drift of each region's colour error between the spans, in Delta E (CIE76); only regions visible in both."""
        colours = [self.trace.colours[rows] for rows in self.spans]
        shows = [name for i, name in enumerate(REGIONS) if all(np.isfinite(part[:, i]).any() for part in colours)]
        first, last = ({name: np.nanmean(part[:, REGIONS.index(name)], axis=0) for name in shows} for part in colours)
        return {name: float(np.linalg.norm(last[name] - first[name])) for name in shows}


@dataclass(frozen=True)
class StreamFigures:
    """What a report tells of a long stream."""

    frames: int
    levels: tuple[float, float]  # dB: mean PSNR of each span of `spans_of(frames)`
    drift: dict[str, float]  # Delta E (CIE76) between the spans, by region
    hundreds: tuple[float, ...]  # dB: mean PSNR of each hundred frames
    seconds: float
    memory: tuple[int | None, int | None]  # as in Stability

    @property
    def loss(self) -> float:
        """PSNR lost from the first span to the last, in dB; negative if the last is better."""
        return self.levels[0] - self.levels[1]


def stream_figures(found: Stability) -> StreamFigures:
    level = found.trace.psnr
    hundreds = tuple(float(np.mean(level[i : i + HUNDRED])) for i in range(0, len(level), HUNDRED))
    return StreamFigures(len(level), found.levels, found.drift, hundreds, found.seconds, found.memory)


def span_of(frames: int) -> int:
    return min(SPAN, frames // 3)


def spans_of(frames: int) -> tuple[slice, slice]:
    """The rows of the two compared spans of a stream."""
    span = span_of(frames)
    return slice(span, 2 * span), slice(frames - span, frames)


def long_case(frames: int, people: int, style: Style = "photo") -> Case:
    """The case of the long stream: the last span repeats the first span's motion in reverse order.

    Its people are in none of the short clips, of which each task has `people`.
    """
    return there_and_back(frames, span_of(frames), long_index(people), style)


def measured(model: PersonaLive, case: Case, size: int = SIZE) -> Iterator[Trace]:
    """Runs the stream, `size` pixels a side; yields the measurements of each finished window.

    The true frames are drawn on demand.
    """
    reference, done = case.reference(size), 0
    for pictures in reenact(model, reference, case.driving(size)):
        if not len(pictures):
            continue
        truth = case.truth(size, slice(done, done + len(pictures)))
        done += len(pictures)
        true = unit(truth.pictures)
        off = region_colours(pictures, truth.regions) - region_colours(truth.pictures, truth.regions)
        yield Trace(psnr(unit(pictures), true).numpy(), psnr(unit(repeated(reference, truth)), true).numpy(), off)


def run_long(windows: Iterable[Trace], frames: int, device: torch.device) -> Stability:
    """Collects the measurements of all windows of a stream of `frames` frames, with its time and peak memory.

    They are copied into arrays allocated once. Keeping each window's small arrays would fragment the heap: they would
    lie between large freed blocks, and the heap would grow by half a megabyte per frame.
    """
    trace = Trace(*(np.full((frames, *shape), np.nan) for shape in ((), (), (len(REGIONS), 3))))
    memory: list[int | None] = []
    begun, done = time.perf_counter(), 0
    reset_peak_memory(device)
    for part in windows:
        rows = slice(done, done + len(part))
        trace.psnr[rows], trace.repeated[rows], trace.colours[rows] = part.psnr, part.repeated, part.colours
        done = rows.stop
        if not memory and done >= EARLY * frames:
            memory.append(peak_memory(device))
            reset_peak_memory(device)
    return Stability(trace, time.perf_counter() - begun, (memory[0], peak_memory(device)))
