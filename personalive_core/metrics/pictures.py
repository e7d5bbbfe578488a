"""Picture metrics: L1, PSNR, SSIM, and the conversion from sRGB to CIE Lab."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

Pictures = NDArray[np.uint8]  # [F, S, S, 3] RGB
Numbers = NDArray[np.float64]
LEAST_ERROR = 1e-10  # lower limit of the mean squared error: equal pictures give 100 dB, not infinity
SSIM_WINDOW, SSIM_SIGMA, SSIM_K = 11, 1.5, (0.01, 0.03)  # Wang et al., 2004
WHITE_POINT = (0.95047, 1.0, 1.08883)  # D65
TO_XYZ = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
LINEAR_BELOW, LAB_EDGE = 0.04045, 6 / 29  # sRGB is linear below 0.04045, Lab below the cube of 6 / 29


def unit(pictures: Pictures) -> Tensor:
    """Converts [F, S, S, 3] uint8 to [F, 3, S, S] float64 in 0..1."""
    return torch.tensor(pictures).permute(0, 3, 1, 2).double() / 255


def l1(shown: Tensor, true: Tensor) -> Tensor:
    """L1 [F] of pictures [F, 3, S, S] in 0..1: the mean absolute error."""
    error: Tensor = (shown - true).abs().mean((1, 2, 3))
    return error


def psnr(shown: Tensor, true: Tensor) -> Tensor:
    """PSNR [F] in dB of pictures [F, 3, S, S] in 0..1: -10 log10 of the mean squared error, at most 100."""
    level: Tensor = -10 * (shown - true).square().mean((1, 2, 3)).clamp(min=LEAST_ERROR).log10()
    return level


def ssim(shown: Tensor, true: Tensor) -> Tensor:
    """SSIM [F] of pictures [F, C, S, S] in 0..1: mean over channels and all windows that lie fully inside."""
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


def lab(colours: Numbers) -> Numbers:
    """Converts sRGB [..., 3] in 0..1 to CIE Lab under D65."""
    linear = np.where(colours <= LINEAR_BELOW, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    share = linear @ np.array(TO_XYZ).T / np.array(WHITE_POINT)
    x, y, z = np.moveaxis(np.where(share > LAB_EDGE**3, np.cbrt(share), share / (3 * LAB_EDGE**2) + 4 / 29), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
