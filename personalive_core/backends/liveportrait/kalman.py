"""Smooths sequences with a Kalman filter and the Rauch-Tung-Striebel smoother, each number by itself."""

from __future__ import annotations

import torch
from torch import Tensor

from ...errors import InputError

PROCESS_VARIANCE = 1e-5  # how much a value changes from frame to frame
OBSERVATION_VARIANCE = 3e-7  # how wrong an observation is; more smooths more
VARIANCE_RANGE = 1e-11, 1e-2  # of observations
_PRIOR_VARIANCE = 1.0  # of the first value, whose prior mean is the first observation


def kalman_smoothed(values: Tensor, variance: float = OBSERVATION_VARIANCE) -> Tensor:
    """`values` [F, ...] -> same, smoothed along F with this observation variance.

    State and observation are the value itself, which walks at random with PROCESS_VARIANCE. Raises InputError for a
    variance outside VARIANCE_RANGE.
    """
    least, most = VARIANCE_RANGE
    if not least <= variance <= most:
        raise InputError(f"the smoothing's variance is from {least:g} to {most:g}, got {variance:g}: try 3e-7")
    observed = values.double()
    filtered, variances = [observed[0]], [_PRIOR_VARIANCE * variance / (_PRIOR_VARIANCE + variance)]
    for value in observed[1:]:
        predicted = variances[-1] + PROCESS_VARIANCE
        gain = predicted / (predicted + variance)
        filtered.append(filtered[-1] + gain * (value - filtered[-1]))
        variances.append((1 - gain) * predicted)
    found = [filtered[-1]]
    for value, own in zip(reversed(filtered[:-1]), reversed(variances[:-1]), strict=True):
        found.append(value + own / (own + PROCESS_VARIANCE) * (found[-1] - value))
    return torch.stack(found[::-1]).to(values.dtype)
