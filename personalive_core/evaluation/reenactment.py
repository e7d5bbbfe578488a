"""Self- and cross-reenactment of held-out people: a model and three baselines against the true frames."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

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
from ..motion.types import HybridMotion, concat_motion
from .cases import Case, Truth
from .closeness import Closeness, Share, closeness, mean_closeness, shares
from .scores import Scores, mean_scores, score

Lead = Callable[[Iterable[HybridMotion], Reference, int], Iterator[HybridMotion]]

SEED = 0
FULL = Strengths(rotation=1, translation=1, scale=1, expression=1)  # as in the true frames: the whole motion
MODEL, REPEATED, DRIVING, MEAN = "PersonaLive", "reference repeated", "driving frame", "mean frame"
COMPARED_CLOSELY = (MODEL, REPEATED, MEAN)


def interpolated(motions: Iterable[HybridMotion], reference: Reference, frames: int) -> Iterator[HybridMotion]:
    """Yields a lead-in of `frames` frames that starts from the reference's motion (MII), then the retargeted motion."""
    return to_reference(motions, reference, frames, FULL)


def abrupt(motions: Iterable[HybridMotion], reference: Reference, frames: int) -> Iterator[HybridMotion]:
    """Without MII: yields the first retargeted frame `frames` times, then the retargeted motion."""
    pieces = to_reference(motions, reference, 0, FULL)
    _, first = next(pieces), next(pieces)  # `to_reference` yields an empty lead-in first
    yield concat_motion([first[:1]] * frames)
    yield first
    yield from pieces


@dataclass(frozen=True)
class Setting:
    """How a stream runs: the sampler's configuration and the kind of lead-in."""

    config: StreamConfig = StreamConfig()
    lead: Lead = interpolated

    def with_history_of(self, model: PersonaLive) -> Setting:
        """The same with the history that `model` was trained with; most models have none."""
        return replace(self, config=replace(self.config, history=model.denoising_unet.config.history))


def reenact(
    model: PersonaLive, portrait: Picture, driving: Iterable[Picture], setting: Setting | None = None
) -> Iterator[Picture]:
    """Runs the same pipeline as users do; yields the finished pictures [0..W, S, S, 3] of each step.

    Without a `setting` it is the published one, with the history that `model` was trained with.
    """
    setting = setting or Setting().with_history_of(model)
    size, config = portrait.shape[0], setting.config
    reference = encode_reference(model, portrait, size)
    motions = driving_motion(model, driving, MotionOptions(size=size))
    sampler = StreamingSampler(model, reference, seeded_noise(SEED), config)
    for emitted in stream(model, sampler, setting.lead(motions, reference, config.lookahead)):
        yield emitted.pictures


@dataclass(frozen=True)
class Reenactment:
    """Scores of one task, means over all clips: one row for the model and one per baseline."""

    name: str
    clips: int
    frames: int  # scored, per clip
    rows: dict[str, Scores]
    network_error: float  # mean error of the landmark network itself, on the true pictures, in pixels
    close: dict[str, Closeness] = field(default_factory=dict)  # means over all clips, of COMPARED_CLOSELY
    shares: tuple[Share, ...] = ()  # of the reference repeated's errors


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a picture sheet: a clip's middle frame, pictures [S, S, 3]."""

    reference: Picture
    driving: Picture
    truth: Picture
    output: Picture
    adapted: Picture | None = None  # the output with a LoRA

    @property
    def rows(self) -> tuple[Picture, ...]:
        """The pictures from top to bottom."""
        adapted = () if self.adapted is None else (self.adapted,)
        return (self.reference, self.driving, self.truth, self.output, *adapted)


@dataclass(frozen=True, eq=False)
class Outcome:
    """Scores and sheet column of one case."""

    rows: dict[str, Scores]
    network_error: float
    column: Column
    frames: int  # scored
    close: dict[str, Closeness] = field(default_factory=dict)


def run_case(case: Case, model: PersonaLive, judge: Landmarker, size: int = SIZE) -> Outcome:
    """Scores the model and the baselines on one case, `size` pixels a side.

    The first frame is not scored where it is the reference.
    """
    reference, driving, truth = case.reference(size), np.stack([*case.driving(size)]), case.truth(size)
    output = np.concatenate([*reenact(model, reference, driving)])
    mean = truth.pictures.mean(0).round().astype(np.uint8)
    shown = {MODEL: output, REPEATED: repeated(reference, truth), DRIVING: driving, MEAN: repeated(mean, truth)}
    rows, middle = slice(1 if case.is_self else 0, None), len(driving) // 2
    return Outcome(
        {name: score(pictures[rows], truth[rows], judge).mean() for name, pictures in shown.items()},
        score(truth.pictures, truth, judge).mean().landmarks,
        Column(reference, driving[middle], truth.pictures[middle], output[middle]),
        len(driving[rows]),
        {name: closeness(shown[name][rows], truth[rows], model) for name in COMPARED_CLOSELY},
    )


def repeated(picture: Picture, truth: Truth) -> Picture:
    """`picture` [S, S, 3] repeated for each frame of `truth`: [F, S, S, 3]."""
    return np.broadcast_to(picture, truth.pictures.shape)


def run_task(
    name: str, cases: Iterable[Case], model: PersonaLive, judge: Landmarker, size: int = SIZE
) -> tuple[Reenactment, list[Column]]:
    """Mean scores over all cases, `size` pixels a side, and one sheet column per case."""
    outcomes = [run_case(case, model, judge, size) for case in cases]
    rows = {row: mean_scores([outcome.rows[row] for outcome in outcomes]) for row in outcomes[0].rows}
    error = float(np.mean([outcome.network_error for outcome in outcomes]))
    close = {row: [outcome.close[row] for outcome in outcomes] for row in outcomes[0].close}
    means = {row: mean_closeness(clips) for row, clips in close.items()}
    task = Reenactment(
        name, len(outcomes), outcomes[0].frames, rows, error, means, shares(close[MODEL], close[REPEATED])
    )
    return task, [outcome.column for outcome in outcomes]
