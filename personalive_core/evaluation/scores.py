"""Scores pictures against the true ones, frame by frame: PSNR, SSIM, L1, landmark error, colour error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..drawn.landmarker import Landmarker, find_landmarks
from ..metrics.pictures import Numbers, Pictures, l1, lab, psnr, ssim, unit
from .cases import Truth

SMALLEST_REGION = 16  # pixels; a smaller region has no reliable mean colour


@dataclass(frozen=True)
class Scores:
    """Five scores of a clip, or their means over clips."""

    psnr: float  # dB
    ssim: float
    l1: float  # mean absolute error of values in 0..1
    landmarks: float  # mean distance in pixels, where the whole face is in the true picture
    identity: float  # mean Delta E (CIE76) between the mean colours of skin, hair, clothes and background


@dataclass(frozen=True)
class FrameScores:
    """The five scores of each frame, [F] each."""

    psnr: Numbers
    ssim: Numbers
    l1: Numbers
    landmarks: Numbers  # NaN where the true face is not wholly in the picture
    identity: Numbers

    def mean(self, rows: slice = slice(None)) -> Scores:
        return Scores(*(known_mean(getattr(self, field.name)[rows]) for field in fields(self)))


def mean_scores(clips: Sequence[Scores]) -> Scores:
    return Scores(*(known_mean([getattr(clip, field.name) for clip in clips]) for field in fields(Scores)))


def known_mean(values: Numbers | Sequence[float]) -> float:
    """The mean of those that are not NaN; NaN without any."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def score(pictures: Pictures, truth: Truth, network: Landmarker) -> FrameScores:
    """Scores pictures [F, S, S, 3] against the truth of the same frames; `network` finds their landmarks."""
    shown, true = unit(pictures), unit(truth.pictures)
    error = landmark_error(find_landmarks(network, pictures), truth.landmarks, pictures.shape[1]).numpy()
    inside = (truth.landmarks.abs() <= 1).all(-1).all(-1).numpy()
    return FrameScores(
        psnr=psnr(shown, true).numpy(),
        ssim=ssim(shown, true).numpy(),
        l1=l1(shown, true).numpy(),
        landmarks=np.where(inside, error, np.nan),
        identity=identity_error(region_colours(pictures, truth.regions), region_colours(truth.pictures, truth.regions)),
    )


def landmark_error(points: Tensor, true: Tensor, size: int) -> Tensor:
    """Mean distance [F] in pixels between points [F, N, 2] in [-1, 1], for pictures `size` pixels wide."""
    distance: Tensor = (points.double() - true).square().sum(-1).sqrt()
    return distance.mean(-1) * size / 2


def region_colours(pictures: Pictures, regions: NDArray[np.bool_]) -> Numbers:
    """Mean colour of each region [F, R, S, S] in CIE Lab [F, R, 3]; NaN for a region below SMALLEST_REGION pixels."""
    count = regions.sum((2, 3))
    total = np.einsum("frhw,fhwc->frc", regions.astype(np.float64), pictures.astype(np.float64))
    mean = total / np.maximum(count, 1)[..., None] / 255
    return np.asarray(np.where(count[..., None] < SMALLEST_REGION, np.nan, lab(mean)))


def identity_error(colours: Numbers, true: Numbers) -> Numbers:
    """Delta E (CIE76) between Lab colours [F, R, 3], mean over the regions that are not NaN: [F]."""
    return np.asarray(np.nanmean(np.linalg.norm(colours - true, axis=-1), axis=-1))
