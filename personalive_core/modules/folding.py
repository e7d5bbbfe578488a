"""Folds norms into convolutions: a network's published state -> the state of the same network built `folded`."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from .fourier import plane_spectrum
from .repeated import repeated_bias, summed_taps

# A convolution, and the batch norm beside it that follows it.
_FOLLOWED = {"conv": "norm", "conv1": "norm2", "compress": "norm"}
_EPS = 1e-5  # of every batch norm
_UPSAMPLED = re.compile(r"\.up_blocks\.\d+\.conv\.")  # convolutions over an upsampled volume
_MASKS = re.compile(r"(^|\.)mask\.weight$")
_OCCLUSION = re.compile(r"(^|\.)occlusion\.")


def fold_spectral(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Replaces `weight_orig` by `weight` = weight_orig / (uᵀ W v), with the stored vectors u and v."""
    found = dict(state)
    for key in [key for key in state if key.endswith(".weight_orig")]:
        name = key.removesuffix("_orig")
        weight, u, v = (found.pop(f"{name}_{part}") for part in ("orig", "u", "v"))
        norm = u.double() @ weight.double().flatten(1) @ v.double()
        found[name] = (weight.double() / norm).to(weight.dtype)
    return found


def fold_norms(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Folds each batch norm into the convolution before it; one without becomes a weight and a bias a channel."""
    found = {key: value for key, value in state.items() if not key.endswith(".num_batches_tracked")}
    scales = {key.removesuffix(".running_var"): None for key in state if key.endswith(".running_var")}
    for norm in scales:
        mean, variance, weight, bias = (
            found.pop(f"{norm}.{part}").double() for part in ("running_mean", "running_var", "weight", "bias")
        )
        scale = weight / (variance + _EPS).sqrt()
        convolution = _before(norm, found)
        if convolution:
            own = found[f"{convolution}.weight"]
            found[f"{convolution}.weight"] = (own.double() * scale.view(-1, *[1] * (own.dim() - 1))).to(own.dtype)
            shift = (found[f"{convolution}.bias"].double() - mean) * scale + bias
            found[f"{convolution}.bias"] = shift.to(own.dtype)
        else:
            dtype = state[f"{norm}.weight"].dtype
            found[f"{norm}.weight"], found[f"{norm}.bias"] = scale.to(dtype), (bias - mean * scale).to(dtype)
    return found


def _before(norm: str, state: Mapping[str, Tensor]) -> str | None:
    """The convolution that the batch norm follows, or None."""
    owner, _, name = norm.rpartition(".")
    names = (f"{owner}.{convolution}" for convolution, after in _FOLLOWED.items() if after == name)
    return next((found for found in names if f"{found}.weight" in state), None)


def fold_upsampling(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds up the taps of each convolution over an upsampled volume that meet the same voxel, see repeated.py."""
    found = dict(state)
    for key in filter(_UPSAMPLED.search, state):
        found[key] = summed_taps(state[key], 2) if key.endswith(".weight") else repeated_bias(state[key], 2)
    return found


def fold_occlusion(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Makes the occlusion's convolution [1, C, 7, 7] one of 49 single taps; the bias goes with the middle one."""
    found = dict(state)
    for key in filter(_OCCLUSION.search, state):
        value = state[key]
        if key.endswith(".weight"):  # the last tap first: what it multiplies lies to the left of and above the result
            found[key] = value[0].flatten(1).flip(1).T[..., None, None].contiguous()
        else:
            side = state[key.removesuffix("bias") + "weight"].shape[-1]
            found[key] = torch.zeros(side**2, dtype=value.dtype).index_fill(0, torch.tensor(side**2 // 2), 1) * value
    return found


def fold_masks(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Transforms the masks' weights for a warping network built `fourier`."""
    found = dict(state)
    for key in filter(_MASKS.search, state):
        found[key.removesuffix("weight") + "spectrum"] = plane_spectrum(found.pop(key))
    return found


def folded(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The folded state of an appearance extractor or a warping network."""
    with torch.no_grad():
        return fold_occlusion(fold_upsampling(fold_norms(state)))
