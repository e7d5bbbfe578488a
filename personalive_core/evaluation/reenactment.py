"""Self- and cross-reenactment of unseen people: a model and three baselines against the true frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ..animation.pipeline import MotionOptions, driving_motion
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import Strengths
from ..backends.personalive.reference import encode_reference
from ..backends.personalive.sampling import StreamingSampler
from ..backends.personalive.stream import stream, to_reference
from ..backends.personalive.types import Reference, StreamConfig
from ..drawn.landmarker import SIZE, Landmarker
from ..media.picture import Picture
from ..modules.schedule import seeded_noise
from ..motion.types import HybridMotion, concat
from .cases import Case, Truth
from .scores import Scores, mean_scores, score

Lead = Callable[[Iterable[HybridMotion], Reference, int], Iterator[HybridMotion]]

SEED = 0
FULL = Strengths(rotation=1, translation=1, scale=1, expression=1)  # the answers take the whole motion over
MODEL, REPEATED, DRIVING, MEAN = "PersonaLive", "reference repeated", "driving frame", "mean frame"


def interpolated(motions: Iterable[HybridMotion], reference: Reference, frames: int) -> Iterator[HybridMotion]:
    """Retargeted motion behind a lead-in of `frames` from the reference (MII)."""
    return to_reference(motions, reference, frames, FULL)


def abrupt(motions: Iterable[HybridMotion], reference: Reference, frames: int) -> Iterator[HybridMotion]:
    """Retargeted motion behind its own first frame, `frames` times: without MII."""
    pieces = to_reference(motions, reference, 0, FULL)
    _, first = next(pieces), next(pieces)  # a lead-in of no frames comes before the first piece
    yield concat([first[:1]] * frames)
    yield first
    yield from pieces


@dataclass(frozen=True)
class Setting:
    """How a stream runs."""

    config: StreamConfig = StreamConfig()
    lead: Lead = interpolated


def reenact(
    model: PersonaLive, portrait: Picture, driving: Iterable[Picture], setting: Setting = Setting()
) -> Iterator[Picture]:
    """The pipeline that everyone runs: finished pictures [0..W, S, S, 3], window by window."""
    size, config = portrait.shape[0], setting.config
    reference = encode_reference(model, portrait, size)
    motions = driving_motion(model, driving, MotionOptions(size=size))
    sampler = StreamingSampler(model, reference, seeded_noise(SEED), config)
    for emitted in stream(model, sampler, setting.lead(motions, reference, config.lookahead)):
        yield emitted.pictures


@dataclass(frozen=True)
class Reenactment:
    """The outcome of one task: a row of scores for the model and for each baseline, means over all clips."""

    name: str
    clips: int
    frames: int  # scored of each clip
    rows: dict[str, Scores]
    network_error: float  # of the landmark network on the true pictures, in pixels


@dataclass(frozen=True, eq=False)
class Column:
    """The middle frame of a clip to look at, [S, S, 3] each."""

    reference: Picture
    driving: Picture
    truth: Picture
    output: Picture
    adapted: Picture | None = None  # the output with a LoRA

    @property
    def rows(self) -> tuple[Picture, ...]:
        """From top to bottom of a sheet."""
        adapted = () if self.adapted is None else (self.adapted,)
        return (self.reference, self.driving, self.truth, self.output, *adapted)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one case gave."""

    rows: dict[str, Scores]
    network_error: float
    column: Column
    frames: int  # scored


def run_case(case: Case, model: PersonaLive, judge: Landmarker) -> Outcome:
    """The model and the baselines on one case; where the reference is the first driving frame, that is not scored."""
    reference, driving, truth = case.reference(SIZE), np.stack([*case.driving(SIZE)]), case.truth(SIZE)
    output = np.concatenate([*reenact(model, reference, driving)])
    mean = truth.pictures.mean(0).round().astype(np.uint8)
    shown = {MODEL: output, REPEATED: repeated(reference, truth), DRIVING: driving, MEAN: repeated(mean, truth)}
    rows, middle = slice(1 if case.is_self else 0, None), len(driving) // 2
    return Outcome(
        {name: score(pictures[rows], truth[rows], judge).mean() for name, pictures in shown.items()},
        score(truth.pictures, truth, judge).mean().landmarks,
        Column(reference, driving[middle], truth.pictures[middle], output[middle]),
        len(driving[rows]),
    )


def repeated(picture: Picture, truth: Truth) -> Picture:
    """[S, S, 3] as many times as the truth has frames."""
    return np.broadcast_to(picture, truth.pictures.shape)


def run_task(
    name: str, cases: Iterable[Case], model: PersonaLive, judge: Landmarker
) -> tuple[Reenactment, list[Column]]:
    """Means over all cases, and a column of pictures of each."""
    outcomes = [run_case(case, model, judge) for case in cases]
    rows = {row: mean_scores([outcome.rows[row] for outcome in outcomes]) for row in outcomes[0].rows}
    error = float(np.mean([outcome.network_error for outcome in outcomes]))
    return Reenactment(name, len(outcomes), outcomes[0].frames, rows, error), [outcome.column for outcome in outcomes]
