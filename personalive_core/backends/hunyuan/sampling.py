"""Denoises the latents of a clip in circular windows, with one or two guidance scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .types import VIDEO_LATENT_SCALE, SamplingOptions, WindowRule

# Of stable-video-diffusion-img2vid-xt's scheduler_config.json.
SVD_SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "v_prediction",
    "interpolation_type": "linear",
    "use_karras_sigmas": True,
    "sigma_min": 0.002,
    "sigma_max": 700.0,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "steps_offset": 1,
}
NONE, APPEARANCE, BOTH = range(3)  # branches: the conditions that the UNet sees
_BRANCHES = (NONE, APPEARANCE, BOTH)


@dataclass(frozen=True, eq=False)
class WindowInput:
    """What the UNet is asked for a window."""

    x: Tensor  # [B, F, 8, h, w] noisy latents, scaled, and the reference's
    time: Tensor  # []
    frames: Tensor  # [F] int64, the clip's frames that are in the window
    branches: tuple[int, ...]  # what each of the B items sees


WindowVelocity = Callable[[WindowInput], Tensor]  # -> [B, F, 4, h, w]
Stepped = Callable[[int, Tensor], None]  # callback: calls of the UNet so far, and the clip's [N, 4, h, w] without noise


def svd_scheduler(steps: int) -> Any:  # noqa: ANN401 - diffusers is imported only when it is used
    """diffusers' Euler scheduler as Stable Video Diffusion uses it, at its first of `steps`."""
    from diffusers import EulerDiscreteScheduler

    scheduler = EulerDiscreteScheduler(**SVD_SCHEDULE)
    scheduler.set_timesteps(steps)
    return scheduler


def window_starts(step: int, frames: int, rule: WindowRule) -> Tensor:
    """Where each window of a step begins in a clip of `frames`, some before its first frame: [W] int64."""
    starts = torch.arange(0, frames, rule.size - rule.overlap)
    return starts - rule.shift * step % rule.size


def window_frames(step: int, frames: int, rule: WindowRule) -> Tensor:
    """The frames of each window of a step, [W, size] int64: the clip is a circle."""
    return (window_starts(step, frames, rule)[:, None] + torch.arange(rule.size)) % frames


def total_calls(frames: int, options: SamplingOptions) -> int:
    """How often the UNet is called for a clip of `frames`, its padding included."""
    return options.steps * len(window_starts(0, frames, options.windows))


def noised(latents: Tensor, noise: Tensor) -> Tensor:
    """The start: a reference's latents [4, h, w], not scaled, and noise [N, 4, h, w] at the first step's level."""
    return latents * VIDEO_LATENT_SCALE + SVD_SCHEDULE["sigma_max"] * noise  # type: ignore[operator]


@torch.inference_mode()
def denoise(
    start: Tensor,
    reference: Tensor,
    velocity: WindowVelocity,
    options: SamplingOptions,
    stepped: Stepped = lambda _calls, _clean: None,
) -> Tensor:
    """The clip's latents [N, 4, h, w], float32, from noisy ones `start` [N, 4, h, w].

    `reference` [4, h, w] are the reference's latents, not scaled, which stand beside each frame's. Every window is
    stepped alone, from the latents that all share; a frame's new latents are the mean over the places it had.
    """
    scheduler, latents, rule = svd_scheduler(options.steps), start.float(), options.windows
    calls = 0
    for step, time in enumerate(scheduler.timesteps):
        windows = window_frames(step, len(latents), rule).to(latents.device)
        scales = tuple(each.at(step, options.steps) for each in (options.appearance, options.motion))
        branches = branches_of(*scales)
        scaled = scheduler.scale_model_input(latents, time)
        guided = []
        for frames in windows:
            asked = WindowInput(beside(scaled[frames], reference, branches), time, frames, branches)
            guided.append(combined(velocity(asked).float(), *scales))
        places = windows.flatten()
        made = scheduler.step(torch.cat(guided), time, latents[places])
        calls += len(windows)
        latents = mean_by_frame(made.prev_sample, places, len(latents))
        stepped(calls, mean_by_frame(made.pred_original_sample, places, len(latents)))
    return latents


def branches_of(appearance: float, motion: float) -> tuple[int, ...]:
    """The branches that count: with two equal scales the middle one cancels out."""
    return (NONE, BOTH) if appearance == motion else _BRANCHES


def combined(v: Tensor, appearance: float, motion: float) -> Tensor:
    """The guided velocity [F, 4, h, w] of `v` [B, F, 4, h, w], of the branches of `branches_of`."""
    if len(v) == len(_BRANCHES):
        return v[NONE] + appearance * (v[APPEARANCE] - v[NONE]) + motion * (v[BOTH] - v[APPEARANCE])
    return v[0] + motion * (v[1] - v[0])


def beside(noisy: Tensor, reference: Tensor, branches: Sequence[int]) -> Tensor:
    """[B, F, 8, h, w]: noisy latents [F, 4, h, w], and the reference's [4, h, w], zero where nothing is seen."""
    own = torch.stack([torch.zeros_like(reference) if branch == NONE else reference for branch in branches]).to(noisy)
    each = own[:, None].expand(-1, len(noisy), -1, -1, -1)
    return torch.cat([noisy.expand(len(branches), -1, -1, -1, -1), each], 2)


def mean_by_frame(values: Tensor, places: Tensor, frames: int) -> Tensor:
    """[frames, ...]: the mean of the `values` [P, ...] whose entry in `places` [P] is that frame."""
    total = values.new_zeros(frames, *values.shape[1:]).index_add_(0, places, values)
    return total / places.bincount(minlength=frames).view(-1, *[1] * (values.dim() - 1))
