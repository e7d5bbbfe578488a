"""Streams latents of any length: segments of 16 new frames, each after the last three of the one before."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from ...errors import InputError
from ...modules.schedule import seeded_noise
from .fusion import Velocity, fused_velocity
from .types import HISTORY_FRAMES, SEGMENT_FRAMES, ClipConditions, ClipHistory, FusionScales


@dataclass(frozen=True)
class SegmentOptions:
    """How segments are sampled. Raises InputError for no steps or a shift that is not above 0."""

    steps: int = 40  # arXiv 2509.17476
    shift: float = 3.0  # of the noise levels towards noise: Stable Diffusion 3.5's
    scales: FusionScales = FusionScales()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.steps < 1 or not self.shift > 0:
            raise InputError(
                f"a segment takes a step or more and a shift above 0, got {self.steps} and {self.shift}: try 40 and 3"
            )


def stream_segments(
    velocity: Velocity, source: Tensor, driving: Iterable[Tensor], options: SegmentOptions = SegmentOptions()
) -> Iterator[Tensor]:
    """Yields the latents [F, C, h, w] of each segment, F = 16 or, in the last, what is left.

    `source` is [C, h, w], `driving` gives one frame's masked driving [C, h, w] after the other. Never more than a
    segment and its history is held. The last segment is filled up with its last driving frame, and cut.
    """
    noise = seeded_noise(options.seed)
    history: ClipHistory | None = None
    frames = iter(driving)
    segment = 0
    while piece := list(islice(frames, SEGMENT_FRAMES)):
        clip = torch.stack([*piece, *piece[-1:] * (SEGMENT_FRAMES - len(piece))])[None]
        conditions = ClipConditions(source[None], clip, history)
        start = noise(segment, clip.shape).to(clip)
        latents = _sampled(velocity, start, conditions, options)
        yield latents[0, : len(piece)]
        history = ClipHistory(latents[:, -HISTORY_FRAMES:], clip[:, -HISTORY_FRAMES:])
        segment += 1


def _sampled(velocity: Velocity, start: Tensor, conditions: ClipConditions, options: SegmentOptions) -> Tensor:
    with torch.inference_mode():
        return euler(
            lambda noisy, timestep: fused_velocity(velocity, noisy, timestep, conditions, options.scales),
            start,
            options.steps,
            options.shift,
        )


def euler(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int, shift: float) -> Tensor:
    """Clean latents from `noise` [B, ...] by diffusers' FlowMatchEulerDiscreteScheduler.

    `velocity` takes noisy latents and timesteps [B]; it is noise minus clean latents.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(steps, device=noise.device)
    latents = noise
    for timestep in scheduler.timesteps:
        found = velocity(latents, timestep.expand(len(latents)))
        latents = scheduler.step(found, timestep, latents, return_dict=False)[0]
    return latents
