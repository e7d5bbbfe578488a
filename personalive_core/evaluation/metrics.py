"""How near pictures come to the true ones: PSNR, SSIM, L1, landmarks and colours, frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from ..drawn.landmarker import Landmarker, locate
from .cases import Truth

Pictures = NDArray[np.uint8]  # [F, S, S, 3] RGB
Numbers = NDArray[np.float64]

LEAST_ERROR = 1e-10  # squared error of equal pictures: 100 dB instead of infinity
SSIM_WINDOW, SSIM_SIGMA, SSIM_K = 11, 1.5, (0.01, 0.03)  # of Wang et al., 2004
SMALLEST_REGION = 16  # pixels; fewer have no mean colour worth the name
WHITE = (0.95047, 1.0, 1.08883)  # D65
TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
LINEAR_BELOW, LAB_EDGE = 0.04045, 6 / 29  # where sRGB's curve and Lab's begin


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
        landmarks=landmark_error(locate(network, pictures), truth.landmarks, pictures.shape[1]).numpy(),
        identity=identity_error(region_colours(pictures, truth.regions), region_colours(truth.pictures, truth.regions)),
    )


def unit(pictures: Pictures) -> Tensor:
    """[F, S, S, 3] uint8 -> [F, 3, S, S] in 0..1, float64."""
    return torch.tensor(pictures).permute(0, 3, 1, 2).double() / 255


def psnr(shown: Tensor, true: Tensor) -> Tensor:
    """-10 log10 of the mean squared error of pictures [F, 3, S, S] in 0..1: [F] dB, at most 100."""
    level: Tensor = -10 * (shown - true).square().mean((1, 2, 3)).clamp(min=LEAST_ERROR).log10()
    return level


def ssim(shown: Tensor, true: Tensor) -> Tensor:
    """Structural similarity [F] of pictures [F, C, S, S] in 0..1: a mean over channels and all whole windows."""
    place = torch.arange(SSIM_WINDOW, dtype=shown.dtype) - SSIM_WINDOW // 2
    bell = torch.exp(-(place**2) / (2 * SSIM_SIGMA**2))
    bell /= bell.sum()

    def local(x: Tensor) -> Tensor:
        flat = x.flatten(0, 1)[:, None]
        return functional.conv2d(functional.conv2d(flat, bell[None, None, None]), bell[None, None, :, None])

    a, b = local(shown), local(true)
    variance_a, variance_b = local(shown**2) - a**2, local(true**2) - b**2
    covariance = local(shown * true) - a * b
    c1, c2 = (k**2 for k in SSIM_K)
    ratio = (2 * a * b + c1) * (2 * covariance + c2) / ((a**2 + b**2 + c1) * (variance_a + variance_b + c2))
    similarity: Tensor = ratio.unflatten(0, shown.shape[:2]).mean((1, 2, 3, 4))
    return similarity


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


def lab(colours: Numbers) -> Numbers:
    """sRGB [..., 3] in 0..1 -> CIE Lab under D65."""
    linear = np.where(colours <= LINEAR_BELOW, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    share = linear @ np.array(TO_XYZ).T / np.array(WHITE)
    x, y, z = np.moveaxis(np.where(share > LAB_EDGE**3, np.cbrt(share), share / (3 * LAB_EDGE**2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
