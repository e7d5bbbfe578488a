"""Runs the paper's ablations, in its order, and tests whether each makes the model worse here too."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import STREAM
from ..drawn.landmarker import SIZE, Landmarker
from ..modules.fusion import PUBLISHED_SCALES, Fusion
from .cases import Case
from .reenactment import Setting, abrupt, reenact
from .scores import FrameScores, Scores, mean_scores, score

FIRST = 16  # frames of a clip that count as the start of a stream
CLEAR = 2.0  # a difference above this many standard errors of the mean counts as clear
FULL_MODEL = "full"
OURS = "run, not of the paper"


@dataclass(frozen=True)
class Ablation:
    """The model without one part of the method."""

    key: str
    title: str
    setting: Setting = Setting()
    trained: bool = False  # True: needs its own weights; False: the full model's weights run with `setting`
    frames: int | None = None  # number of first frames of each clip to compare; None: all


ABLATIONS = (
    Ablation("sliding", "without sliding training", trained=True),
    Ablation("keyframes", "without historical keyframes (HKM)", Setting(replace(STREAM, max_keyframes=1))),
    Ablation("lead-in", "without motion-interpolated start (MII)", Setting(lead=abrupt), frames=FIRST),
    Ablation("chunk-2", "chunk size 2", Setting(replace(STREAM, window=2))),
    Ablation("chunkwise", "chunk-wise attention", trained=True),
)

# Of a model that was trained with history; neither is of the paper.
WITHOUT_HISTORY = Ablation("history", "without history")
WITH_FUSION = Ablation("fusion", "with fusion of signals", Setting(replace(STREAM, fusion=Fusion(*PUBLISHED_SCALES))))
TRAINED = tuple(ablation.key for ablation in ABLATIONS if ablation.trained)


@dataclass(frozen=True)
class AblationResult:
    """Scores of an ablation and of the full model on the same frames."""

    title: str
    how: str  # "trained", "run", "not trained" or `OURS`
    frames: int = 0  # compared, per clip
    scores: Scores | None = None
    full: Scores | None = None
    difference: float = 0.0  # ablation's PSNR minus the full model's, in dB: mean over clips
    error: float = math.inf  # standard error of `difference`; infinite for a single clip

    @property
    def verdict(self) -> str:
        """Whether the ablation is worse than the full model, as the paper reports; of `OURS` only how it is."""
        if self.scores is None:
            return "not trained"
        if abs(self.difference) <= CLEAR * self.error:
            return "no clear difference" if self.how == OURS else "does not agree: no clear difference"
        if self.how == OURS:
            return "worse" if self.difference < 0 else "better"
        return "agrees" if self.difference < 0 else "does not agree: better"


def run_ablations(
    model: PersonaLive, cases: Iterable[Case], judge: Landmarker, others: Mapping[str, PersonaLive], size: int = SIZE
) -> list[AblationResult]:
    """Runs every ablation on all cases, `size` pixels a side.

    `others` has the trained ablations' models by key; the rest are not trained.
    """
    rows = ablations_of(model)
    runs = {FULL_MODEL: (model, Setting().with_history_of(model))}
    for ablation in rows:
        if not ablation.trained or ablation.key in others:
            other = others.get(ablation.key, model)
            setting = ablation.setting
            runs[ablation.key] = other, setting if ablation is WITHOUT_HISTORY else setting.with_history_of(other)
    clips = [_scored(runs, case, judge, size) for case in cases]
    return [_finding(ablation, clips) for ablation in rows]


def ablations_of(model: PersonaLive) -> tuple[Ablation, ...]:
    """The paper's ablations, and those of history and fusion if `model` was trained with history."""
    return (*ABLATIONS, WITHOUT_HISTORY, WITH_FUSION) if model.denoising_unet.config.history else ABLATIONS


def _scored(
    runs: Mapping[str, tuple[PersonaLive, Setting]], case: Case, judge: Landmarker, size: int
) -> dict[str, FrameScores]:
    reference, driving, truth = case.reference(size), [*case.driving(size)], case.truth(size)
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
        OURS if ablation in (WITHOUT_HISTORY, WITH_FUSION) else "trained" if ablation.trained else "run",
        len(clips[0][ablation.key].psnr[rows]),
        mean_scores(own),
        mean_scores(full),
        float(np.mean(differences)),
        error,
    )
