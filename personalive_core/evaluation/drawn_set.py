"""Writes a benchmark of drawn, held-out people in the layout of `personalive metrics --table`, with one baseline."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np

from ..drawn.sample import RATE
from ..media.picture import Picture, write_image
from ..media.write import VideoWriter, WriteOptions
from .cases import self_case
from .films import JOINED

RESULTS_FOLDER, TRUTH_FOLDER, REFERENCE_FOLDER, DRIVING_FOLDER = "results", "truth", "reference", "driving"
BASELINE_SYSTEM = "reference repeated"
DRAWN_SIDE = 128  # pixels; the small model's own


def write_drawn_set(folder: Path, people: int, frames: int) -> None:
    """Writes the films, lossless, of `people` held-out people into `folder`.

    Person pN's own clip is the truth of pN (self) and drives the next person: N+1 by N, the first by the last. The
    baseline shows the reference all the time. Raises OutputError where the folder cannot be written.
    """
    for part in (*(folder / name for name in (TRUTH_FOLDER, REFERENCE_FOLDER, DRIVING_FOLDER)),
                 *(folder / RESULTS_FOLDER / BASELINE_SYSTEM / task for task in ("self", "cross"))):  # fmt: skip
        part.mkdir(parents=True, exist_ok=True)
    portraits = [self_case(i, 1).reference(DRAWN_SIDE) for i in range(people)]
    for i, portrait in enumerate(portraits):
        write_image(folder / REFERENCE_FOLDER / f"p{i}.png", portrait, label=False)
        own = [*self_case(i, frames).driving(DRAWN_SIDE)]
        for name in (TRUTH_FOLDER, DRIVING_FOLDER):
            _write(folder / name / f"p{i}.mp4", own)
        baseline, other = folder / RESULTS_FOLDER / BASELINE_SYSTEM, (i + 1) % people
        _write(baseline / "self" / f"p{i}.mp4", np.repeat(portrait[None], frames, 0))
        _write(baseline / "cross" / f"p{other}{JOINED}p{i}.mp4", np.repeat(portraits[other][None], frames, 0))


def _write(path: Path, pictures: Iterable[Picture]) -> None:
    with VideoWriter(
        path, (DRAWN_SIDE, DRAWN_SIDE), WriteOptions(rate=Fraction(RATE), lossless=True, label=False)
    ) as writer:
        for picture in pictures:
            writer.write(picture)
