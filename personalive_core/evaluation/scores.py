"""How near pictures come to the true ones: PSNR, SSIM, L1, landmarks and colours, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..drawn.landmarker import Landmarker, find_landmarks
from ..metrics.pictures import Numbers, Pictures, lab, psnr, ssim, unit
from .cases import Truth

SMALLEST_REGION = 16  # pixels; fewer have no mean colour worth the name


@dataclass(frozen=True)
class Scores:
    """Five figures of a clip, or their means over clips."""

    psnr: float  # dB
    ssim: float
    l1: float  # of values in 0..1
    landmarks: float  # mean distance in pixels
    identity: float  # mean difference of the mean colours of skin, hair, clothes and background, in Delta E (CIE76)


@dataclass(frozen=True)
class FrameScores:
    """The five figures of each frame [F]."""

    psnr: Numbers
    ssim: Numbers
    l1: Numbers
    landmarks: Numbers
    identity: Numbers

    def mean(self, rows: slice = slice(None)) -> Scores:
        return Scores(*(float(getattr(self, field.name)[rows].mean()) for field in fields(self)))


def mean_scores(clips: Sequence[Scores]) -> Scores:
    return Scores(*(float(np.mean([getattr(clip, field.name) for clip in clips])) for field in fields(Scores)))


def score(pictures: Pictures, truth: Truth, network: Landmarker) -> FrameScores:
    """`pictures` [F, S, S, 3] against the truth of the same frames."""
    shown, true = unit(pictures), unit(truth.pictures)
    return FrameScores(
        psnr=psnr(shown, true).numpy(),
        ssim=ssim(shown, true).numpy(),
        l1=(shown - true).abs().mean((1, 2, 3)).numpy(),
        landmarks=landmark_error(find_landmarks(network, pictures), truth.landmarks, pictures.shape[1]).numpy(),
        identity=identity_error(region_colours(pictures, truth.regions), region_colours(truth.pictures, truth.regions)),
    )


def landmark_error(points: Tensor, true: Tensor, size: int) -> Tensor:
    """Mean distance [F] in pixels of points [F, K, 2], which are in [-1, 1] of a picture `size` pixels wide."""
    distance: Tensor = (points.double() - true).square().sum(-1).sqrt()
    return distance.mean(-1) * size / 2


def region_colours(pictures: Pictures, regions: NDArray[np.bool_]) -> Numbers:
    """The mean colour of each of R regions [F, R, S, S] as Lab [F, R, 3]; NaN for one that hardly shows."""
    count = regions.sum((2, 3))
    total = np.einsum("frhw,fhwc->frc", regions.astype(np.float64), pictures.astype(np.float64))
    mean = total / np.maximum(count, 1)[..., None] / 255
    return np.asarray(np.where(count[..., None] < SMALLEST_REGION, np.nan, lab(mean)))


def identity_error(colours: Numbers, true: Numbers) -> Numbers:
    """Mean over regions of the distance of Lab colours [F, R, 3]: Delta E of CIE76, [F]."""
    return np.asarray(np.nanmean(np.linalg.norm(colours - true, axis=-1), axis=-1))
