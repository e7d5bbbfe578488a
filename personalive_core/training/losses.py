"""The losses of all stages, each with its equation; every loss is a mean over all values."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from ..modules.keypoints import BINS, DEGREES_PER_BIN, FIRST_BIN

Losses = dict[str, Tensor]  # terms by name; their sum is minimised

INNER = 0.6  # middle part of a face box's sides that holds eyes, nose and mouth


def noise_error(predicted: Tensor, noise: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """E[w ||eps - eps_theta(x_t, t, c)||^2]: equation 1, with a weight w that broadcasts (1 in the paper)."""
    return squared_error(predicted, noise, weight)


def snr_weight(alpha: Tensor, limit: float) -> Tensor:
    """min(1 / SNR, limit), SNR = alpha / (1 - alpha): turns a noise error into an x0 error (arXiv 2303.09556)."""
    return ((1 - alpha) / alpha).clamp(max=limit)


def face_weight(box: Tensor, size: int, more: float) -> Tensor:
    """Loss weights [N, 1, size, size] of mean 1, for face boxes [N, 4] (x0, y0, x1, y1) in pixels.

    A pixel in the middle of the box, where eyes, nose and mouth are, counts `more` times as much as one elsewhere.
    """
    middle, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) * INNER / 2
    pixels = torch.arange(size, device=box.device) + 0.5
    across, down = ((pixels - middle[:, i, None]).abs() < half[:, i, None] for i in (0, 1))
    weight = 1 + (more - 1) * (down[:, None, :, None] & across[:, None, None, :]).float()
    return weight / weight.mean((2, 3), keepdim=True)


def squared_error(predicted: Tensor, true: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """w ||x - x_hat||^2: the first term of equation 8, with a weight w that broadcasts (1 in the paper)."""
    return (weight * (predicted - true).square()).mean()


def masked_error(predicted: Tensor, true: Tensor, mask: Tensor) -> Tensor:
    """||m (x - x_hat)||^2, with a mask m that broadcasts; the mean is over all values, those outside m included."""
    return (mask * (predicted - true)).square().mean()


def absolute_error(predicted: Tensor, true: Tensor, weight: Tensor | float = 1.0) -> Tensor:
    """w |x - x_hat|, with a weight w that broadcasts."""
    return (weight * (predicted - true).abs()).mean()


def edge_error(predicted: Tensor, true: Tensor, weight: Tensor) -> Tensor:
    """w |dx - dx_hat| of horizontal and vertical pixel differences: pictures [N, C, H, W], weights w [N, 1, H, W]."""
    difference = predicted - true
    across, down = difference.diff(dim=-1).abs(), difference.diff(dim=-2).abs()
    return (weight[..., 1:] * across).mean() + (weight[..., 1:, :] * down).mean()


def kl_to_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mu, sigma^2) || N(0, 1)) = (mu^2 + sigma^2 - 1 - log sigma^2) / 2, per latent value (arXiv 1312.6114)."""
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()


def bin_error(scores: Tensor, degrees: Tensor) -> Tensor:
    """-sum_b q_b log softmax(scores)_b: scores [..., 66], `degrees` [...] (arXiv 1710.00925).

    q divides an angle between the two nearest of the 66 bins. A loss on the bins' expectation alone would saturate.
    """
    place = ((degrees - FIRST_BIN) / DEGREES_PER_BIN).clamp(0, BINS - 1)
    share = (1 - (place[..., None] - torch.arange(BINS, device=place.device)).abs()).clamp(min=0)
    return -(share * scores.log_softmax(-1)).sum(-1).mean()


def heat_error(maps: Tensor, places: Tensor) -> Tensor:
    """-sum_p q_p log softmax(map)_p: `places` [N, K, 2] in [-1, 1], x first, heat maps [N, K, h, w].

    q divides a place between the four nearest cells and spreads each over its 3x3 neighbours. A place outside the map
    counts at its edge. The gradient is useful from the first step on, unlike that of the mean position's error.
    """
    sides = torch.tensor(maps.shape[:1:-1], device=maps.device)
    cells = ((places + 1) / 2 * sides - 0.5).clamp(min=torch.zeros_like(sides), max=sides - 1)
    columns, rows = (
        (1 - (cells[..., axis, None] - torch.arange(int(side), device=maps.device)).abs()).clamp(min=0)
        for axis, side in enumerate(sides)
    )
    share = functional.avg_pool2d(rows[..., None] * columns[..., None, :], 3, 1, 1)
    return -(share * maps.flatten(2).log_softmax(-1).view_as(maps)).sum((2, 3)).mean()


def generator_loss(fake_score: Tensor) -> Tensor:
    """-log D(G(z)) with D = sigmoid(score): softplus(-score), the non-saturating loss of StyleGAN2."""
    return functional.softplus(-fake_score).mean()


def discriminator_loss(real_score: Tensor, fake_score: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))): softplus(-real) + softplus(fake)."""
    return functional.softplus(-real_score).mean() + functional.softplus(fake_score).mean()


def gradient_penalty(real_score: Tensor, real: Tensor) -> Tensor:
    """R1: E||grad_x D(x)||^2 / 2 at real pictures [N, C, H, W], which must require gradients (arXiv 1801.04406)."""
    (gradient,) = torch.autograd.grad(real_score.sum(), real, create_graph=True)
    return 0.5 * gradient.square().sum((1, 2, 3)).mean()
