"""One long stream: whether pictures and colours stay as they were, drawn, run and measured window by window."""

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
from ..metrics.pictures import Numbers, psnr, unit
from .cases import Case, there_and_back
from .reenactment import reenact, repeated
from .scores import region_colours

SPAN = 100  # frames that are compared: the second hundred, after a warm-up, and the last
EARLY = 0.2  # share of the stream after which memory is looked at first


@dataclass(frozen=True, eq=False)
class Trace:
    """What became of F frames in a row."""

    psnr: Numbers  # [F] dB
    repeated: Numbers  # [F] dB of the reference, repeated
    colours: Numbers  # [F, 4, 3] how far the regions' mean colours are off, in Lab

    def __len__(self) -> int:
        return len(self.psnr)


@dataclass(frozen=True)
class Stability:
    """The whole stream."""

    trace: Trace
    seconds: float
    memory: tuple[int | None, int | None]  # most bytes held in the stream's first part, and in the rest

    @property
    def spans(self) -> tuple[slice, slice]:
        """The frames after warm-up, and the last ones."""
        frames = len(self.trace)
        span = span_of(frames)
        return slice(span, 2 * span), slice(frames - span, frames)

    @property
    def levels(self) -> tuple[float, float]:
        """Mean PSNR of both spans."""
        first, last = (float(self.trace.psnr[rows].mean()) for rows in self.spans)
        return first, last

    @property
    def loss(self) -> float:
        """By how many dB the last frames are worse than those after warm-up."""
        return self.levels[0] - self.levels[1]

    @property
    def drift(self) -> dict[str, float]:
        """How far each region's mean colour has moved from one span to the other, in Delta E (CIE76)."""
        colours = [self.trace.colours[rows] for rows in self.spans]
        shows = [name for i, name in enumerate(REGIONS) if all(np.isfinite(part[:, i]).any() for part in colours)]
        first, last = ({name: np.nanmean(part[:, REGIONS.index(name)], axis=0) for name in shows} for part in colours)
        return {name: float(np.linalg.norm(last[name] - first[name])) for name in shows}


def span_of(frames: int) -> int:
    return min(SPAN, frames // 3)


def long_case(frames: int) -> Case:
    """The stream's case, whose last span goes back over the motion of the first."""
    return there_and_back(frames, span_of(frames))


def measured(model: PersonaLive, case: Case) -> Iterator[Trace]:
    """Each window that comes out, against its truth, which is drawn only then."""
    reference, done = case.reference(SIZE), 0
    for pictures in reenact(model, reference, case.driving(SIZE)):
        if not len(pictures):
            continue
        truth = case.truth(SIZE, slice(done, done + len(pictures)))
        done += len(pictures)
        true = unit(truth.pictures)
        off = region_colours(pictures, truth.regions) - region_colours(truth.pictures, truth.regions)
        yield Trace(psnr(unit(pictures), true).numpy(), psnr(unit(repeated(reference, truth)), true).numpy(), off)


def run_long(windows: Iterable[Trace], frames: int, device: torch.device) -> Stability:
    """The figures of a stream of `frames`, from those of its windows as they come.

    They are copied into one place for all: a window's own small arrays, kept, would lie between large ones that are
    freed, and the heap, which cannot fill such gaps, would grow by half a megabyte a frame.
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
