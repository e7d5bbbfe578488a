"""The paper's ablations, in its order: which of them make the model worse here too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import STREAM
from ..drawn.landmarker import SIZE, Landmarker
from .cases import Case
from .reenactment import Setting, abrupt, reenact
from .scores import FrameScores, Scores, mean_scores, score

FIRST = 16  # frames that show how a stream starts
CLEAR = 2.0  # standard errors of the mean that make a difference clear
FULL_MODEL = "full"


@dataclass(frozen=True)
class Ablation:
    """One part of the method taken away."""

    key: str
    title: str
    setting: Setting = Setting()
    trained: bool = False  # by weights of its own; False: by running the full model otherwise
    frames: int | None = None  # that are compared from the start; None: all


ABLATIONS = (
    Ablation("sliding", "without sliding training", trained=True),
    Ablation("keyframes", "without historical keyframes (HKM)", Setting(replace(STREAM, max_keyframes=1))),
    Ablation("lead-in", "without motion-interpolated start (MII)", Setting(lead=abrupt), frames=FIRST),
    Ablation("chunk-2", "chunk size 2", Setting(replace(STREAM, window=2))),
    Ablation("chunkwise", "chunk-wise attention", trained=True),
)
TRAINED = tuple(ablation.key for ablation in ABLATIONS if ablation.trained)


@dataclass(frozen=True)
class AblationResult:
    """An ablation beside the full model on the same frames."""

    title: str
    how: str  # trained, run, or not trained
    frames: int = 0  # compared of each clip
    scores: Scores | None = None
    full: Scores | None = None
    difference: float = 0.0  # of PSNR to the full model's, in dB: a mean over clips
    error: float = math.inf  # its standard error

    @property
    def verdict(self) -> str:
        """Whether it is worse than the full model, as in the paper."""
        if self.scores is None:
            return "not trained"
        if abs(self.difference) <= CLEAR * self.error:
            return "does not agree: no clear difference"
        return "agrees" if self.difference < 0 else "does not agree: better"


def run_ablations(
    model: PersonaLive, cases: Iterable[Case], judge: Landmarker, others: Mapping[str, PersonaLive]
) -> list[AblationResult]:
    """Every ablation on all cases; those with weights of their own are in `others`, or were not trained."""
    runs = {FULL_MODEL: (model, Setting())}
    for ablation in ABLATIONS:
        if not ablation.trained or ablation.key in others:
            runs[ablation.key] = others.get(ablation.key, model), ablation.setting
    clips = [_scored(runs, case, judge) for case in cases]
    return [_finding(ablation, clips) for ablation in ABLATIONS]


def _scored(runs: Mapping[str, tuple[PersonaLive, Setting]], case: Case, judge: Landmarker) -> dict[str, FrameScores]:
    reference, driving, truth = case.reference(SIZE), [*case.driving(SIZE)], case.truth(SIZE)
    return {
        key: score(np.concatenate([*reenact(model, reference, driving, setting)]), truth, judge)
        for key, (model, setting) in runs.items()
    }


def _finding(ablation: Ablation, clips: Sequence[Mapping[str, FrameScores]]) -> AblationResult:
    if ablation.key not in clips[0]:
        return AblationResult(ablation.title, "not trained")
    rows = slice(ablation.frames)
    own, full = ([clip[key].mean(rows) for clip in clips] for key in (ablation.key, FULL_MODEL))
    differences = [a.psnr - b.psnr for a, b in zip(own, full, strict=True)]
    error = float(np.std(differences, ddof=1)) / math.sqrt(len(clips)) if len(clips) > 1 else math.inf
    return AblationResult(
        ablation.title,
        "trained" if ablation.trained else "run",
        len(clips[0][ablation.key].psnr[rows]),
        mean_scores(own),
        mean_scores(full),
        float(np.mean(differences)),
        error,
    )
