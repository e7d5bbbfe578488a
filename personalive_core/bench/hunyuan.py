"""Measures HunyuanPortrait: time, floating-point operations and memory of each stage, and of a clip made of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from ..backends.hunyuan.model import HunyuanPortrait
from ..backends.hunyuan.motion import read_motion_of, unit_planes
from ..backends.hunyuan.reference import dino_picture
from ..backends.hunyuan.sampling import total_calls
from ..backends.hunyuan.types import PER_LATENT, PORTRAIT_SIDE, SamplingOptions
from ..backends.registry import HUNYUAN
from ..device import device_name
from ..errors import InputError
from ..faces.crop import Box, Face
from ..media.picture import Picture
from .hunyuan_networks import SMALL_HUNYUAN, TOKENS, count_hunyuan, random_hunyuan
from .loop import drawn_frames, drawn_portrait
from .measure import size_of
from .report import BenchReport, StageCost
from .stages import measure_stage

_LEVELS = 4  # widths that the UNet has
_HEAD = 64  # the widths' common divisor


@dataclass(frozen=True)
class HunyuanOptions:
    """What is measured of HunyuanPortrait. Raises InputError for numbers that cannot be measured."""

    widths: tuple[int, ...] = SMALL_HUNYUAN  # of the UNet
    size: int = PORTRAIT_SIDE
    precision: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    frames: int = 32  # of the clip
    repeats: int = 3

    def __post_init__(self) -> None:
        if len(self.widths) != _LEVELS or any(width % _HEAD for width in self.widths):
            raise InputError(
                f"HunyuanPortrait has {_LEVELS} widths, multiples of {_HEAD}, got {self.widths}: use "
                f"{','.join(map(str, SMALL_HUNYUAN))}"
            )


def run_hunyuan_bench(options: HunyuanOptions) -> BenchReport:
    """Measures each stage with random weights; a clip's speed is summed from them, for a clip takes many calls.

    The clip is made as published: 25 steps, both guidance scales alike, padding at both ends.
    """
    device, sampling = options.device, SamplingOptions()
    window, decoded = sampling.windows.size, sampling.decoded
    flops = count_hunyuan(options.widths, options.size, window, decoded)
    model = random_hunyuan(options.widths, device, options.precision)
    parameters, size = size_of(model.networks)
    frames = {"reference": 1, "motion": window, "unet": window, "decode": decoded}
    stages = tuple(
        measure_stage(StageCost(name, frames[name], 0.0, flops[name], None, "plain"), call, options.repeats, device)
        for name, call in _calls(model, options.size, window, decoded).items()
    )
    cost = {stage.name: stage.seconds for stage in stages}
    latents = options.frames + 2 * sampling.padding
    denoising = total_calls(latents, sampling) * cost["unet"]
    first = cost["reference"] + cost["motion"] * math.ceil(options.frames / window) + denoising + cost["decode"]
    whole = first + cost["decode"] * (math.ceil(options.frames / decoded) - 1)
    fps = options.frames / (whole - cost["reference"])
    peaks = [stage.peak_memory for stage in stages if stage.peak_memory is not None]
    return BenchReport(
        widths=options.widths,
        size=options.size,
        precision=str(options.precision).removeprefix("torch."),
        device=device_name(device),
        decoder="full",
        compiled=False,
        frames=options.frames,
        torch=torch.__version__,
        parameters=parameters,
        weight_bytes=size,
        stages=stages,
        first_frame_seconds=first,
        fps=fps,
        fps_whole=options.frames / whole,
        peak_memory=max(peaks, default=None),
        speed="plain",
        system=HUNYUAN,
    )


def _calls(model: HunyuanPortrait, size: int, window: int, decoded: int) -> dict[str, Callable[[], object]]:
    """Calls that run each stage on a drawn person, for the frames of a window or of a decoded chunk."""
    portrait, side = drawn_portrait(size), size // PER_LATENT
    drawn = drawn_frames(size)
    driving = [drawn[index % len(drawn)] for index in range(window)]
    unit, face = unit_planes([portrait]), torch.zeros(112, 112, 3).numpy()
    noisy = torch.zeros(2, window, 8, side, side)
    tokens = torch.zeros(2, window, TOKENS, model.unet.config.context_dim)
    pose, time = model.pose(size, size), torch.tensor(1.6)
    latents = torch.zeros(decoded, 4, side, side)

    def found(image: Picture) -> tuple[Face, ...]:
        s = float(len(image))
        points = tuple((x * s, y * s) for x, y in ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.42, 0.6), (0.58, 0.6)))
        return (Face(Box(0.3 * s, 0.3 * s, 0.7 * s, 0.7 * s), 1.0, points),)

    def read() -> None:
        for motion in read_motion_of(model, driving, found, size):
            model.motion_tokens(motion)

    return {
        "reference": lambda: (model.look(dino_picture(unit), face), model.encode(2 * unit - 1)),
        "motion": read,
        "unet": lambda: model.velocity(noisy, time, tokens, tokens, pose),
        "decode": lambda: model.decode(latents),
    }
