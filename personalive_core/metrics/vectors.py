"""Distances of what networks say of pictures: cosine, pose, expression, and the Frechet distance of two sets."""

from __future__ import annotations

import numpy as np

from .pictures import Numbers


def cosine(a: Numbers, b: Numbers) -> Numbers:
    """Cosine [F] of vectors [F, D] and [F or 1, D]: exactly 1 where both are the same."""
    b = np.broadcast_to(b, a.shape)
    dot, lengths = (a * b).sum(-1), (a * a).sum(-1) * (b * b).sum(-1)
    return np.asarray(dot / np.sqrt(lengths))


def pose_distance(a: Numbers, b: Numbers) -> Numbers:
    """Mean absolute difference [F], in radians, of pitch, yaw and roll [F, 3] in degrees."""
    return np.asarray(np.radians(np.abs(a - b)).mean(-1))


def mean_distance(a: Numbers, b: Numbers) -> Numbers:
    """Mean absolute difference [F] of parameters [F, D]."""
    return np.asarray(np.abs(a - b).mean(-1))


def frechet_distance(a: Numbers, b: Numbers) -> float:
    """Frechet distance of two sets of features [N, D] and [M, D], taken as normal distributions; N and M above 1.

    |mean a - mean b|^2 + tr(A + B - 2 (A B)^(1/2)) with the covariances A and B: 0 for equal sets.
    """
    if np.array_equal(a, b):
        return 0.0
    own, other = (np.cov(x, rowvar=False, ddof=1).reshape(x.shape[1], x.shape[1]) for x in (a, b))
    root = _root(own)
    # The roots of A B's eigenvalues are those of the symmetric A^(1/2) B A^(1/2).
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ other @ root), 0, None)).sum()
    distance = np.square(a.mean(0) - b.mean(0)).sum() + np.trace(own) + np.trace(other) - 2 * cross
    return float(max(distance, 0.0))


def _root(matrix: Numbers) -> Numbers:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)
