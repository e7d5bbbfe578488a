"""Folds the published state of LivePortrait's decoder into the state of the decoder built `folded`."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .folding import fold_spectral
from .repeated import repeated_bias, summed_taps
from .spade import SpadeConfig, decoder_blocks

_NORM_S = "norm_s"  # of the shortcut, where a block has one


@torch.no_grad()
def fold_decoder(state: Mapping[str, Tensor], config: SpadeConfig) -> dict[str, Tensor]:
    """Spectral norms are folded, each norm's convolutions joined, and taps of repeated pixels added up."""
    plain = fold_spectral(state)
    found = {key: value for key, value in plain.items() if ".norm_" not in key}
    for name in decoder_blocks(config):
        times = 2 ** (int(name.removeprefix("up_")) + 1) if name.startswith("up_") else 1
        norms = [norm for norm in ("norm_0", "norm_1", _NORM_S) if f"{name}.{norm}.mlp_gamma.weight" in plain]
        found |= _shared(plain, name, norms, times)
        for norm in norms:
            found |= _modulation(plain, name, norm)
    return found


def _shared(state: Mapping[str, Tensor], block: str, norms: list[str], times: int) -> dict[str, Tensor]:
    """The first convolutions of all norms of a block as one."""
    weight, bias = (
        torch.cat([state[f"{block}.{norm}.mlp_shared.0.{kind}"] for norm in norms]) for kind in ("weight", "bias")
    )
    if times > 1:
        weight, bias = summed_taps(weight, times), repeated_bias(bias, times)
    return {f"{block}.shared.weight": weight, f"{block}.shared.bias": bias}


def _modulation(state: Mapping[str, Tensor], block: str, norm: str) -> dict[str, Tensor]:
    """1 + gamma and beta of a norm as one convolution; of the shortcut's norm, beta as the shortcut sees it."""
    of = {
        (part, kind): state[f"{block}.{norm}.mlp_{part}.{kind}"]
        for part in ("gamma", "beta")
        for kind in ("weight", "bias")
    }
    scale, shift = (of["gamma", "weight"], of["gamma", "bias"] + 1), (of["beta", "weight"], of["beta", "bias"])
    name = f"{block}.{norm}"
    if norm != _NORM_S:
        return {f"{name}.weight": torch.cat([scale[0], shift[0]]), f"{name}.bias": torch.cat([scale[1], shift[1]])}
    shortcut = state[f"{block}.conv_s.weight"].flatten(1).double()
    weight = torch.einsum("oc,c...->o...", shortcut, shift[0].double()).to(shift[0].dtype)
    bias = (shortcut @ shift[1].double()).to(shift[1].dtype)
    return {
        f"{name}.weight": scale[0],
        f"{name}.bias": scale[1],
        f"{block}.shift.weight": weight,
        f"{block}.shift.bias": bias,
    }
