"""What a training step does to the parameters: which are trained, at what rate, clipped and averaged."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from ..backends.personalive.loader import NEEDED
from ..backends.personalive.model import PersonaLive
from .presets import Preset

if TYPE_CHECKING:
    from accelerate import Accelerator

LOWEST_RATE = 0.05  # final learning rate of the cosine schedule, relative to the highest
CRITIC = "extra.critic."  # start of the discriminator's parameter names


def rate_at(row: Preset, step: int, spent: float = 0.0) -> float:
    """The learning rate of a step: linear warm-up, then constant or a cosine.

    `spent` is the share of `row.minutes` that has passed; the cosine follows whichever is further, steps or minutes.
    """
    rise = min(1.0, (step + 1) / row.warmup) if row.warmup else 1.0
    if not row.cosine:
        return row.rate * rise
    fall = 0.5 * (1 + math.cos(math.pi * min(max(step / row.steps, spent), 1.0)))
    return row.rate * rise * (LOWEST_RATE + (1 - LOWEST_RATE) * fall)


def groups(learner: nn.Module, row: Preset) -> list[dict[str, Any]]:
    """The optimiser's parameters: one group, or where `row.critic_rate` is given a second one of the discriminator."""
    if not row.critic_rate:
        return [{"params": list(learner.parameters()), "factor": 1.0}]
    named = list(learner.named_parameters())
    parts = ([value for name, value in named if name.startswith(CRITIC) is own] for own in (False, True))
    factors = (1.0, row.critic_rate / row.rate)
    return [{"params": part, "factor": factor} for part, factor in zip(parts, factors, strict=True)]


def freeze(model: PersonaLive, networks: nn.ModuleDict, row: Preset, device: torch.device) -> None:
    """Moves all networks to `device`, and enables gradients for the parameters alone that the row trains."""
    for name in NEEDED:
        getattr(model, name).requires_grad_(False).to(device)
    for owner, network in networks.items():
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(row.layers in name and not f"{owner}.{name}".startswith(row.resting))


def clip(accelerator: Accelerator, learner: nn.Module, adam: Optimizer, most: float) -> float:
    """Scales down too large gradients, the discriminator's by themselves; returns the norm of the others."""
    if len(adam.param_groups) == 1:
        return float(accelerator.clip_grad_norm_(learner.parameters(), most))
    accelerator.unscale_gradients()
    norms = [nn.utils.clip_grad_norm_(group["params"], most) for group in adam.param_groups]
    return float(norms[0])


@torch.no_grad()
def average(mean: dict[str, Tensor], networks: nn.ModuleDict, decay: float) -> None:
    """Updates the EMA weights; of buffers, the newest value is taken."""
    if not mean:
        return
    parameters = dict(networks.named_parameters())
    keys = list(parameters)
    torch._foreach_lerp_([mean[key] for key in keys], [parameters[key].detach() for key in keys], 1 - decay)
    for key, value in networks.named_buffers():
        if key in mean:
            mean[key].copy_(value)
