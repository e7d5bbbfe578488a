"""Measures LivePortrait: time, floating-point operations and memory of each network, and the loop with paste-back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor, nn

from ..backends.liveportrait.crops import SIDE
from ..backends.liveportrait.driving import INPUT_SIDE
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.motion import unit_pictures
from ..backends.liveportrait.speed import choose_live_speed, with_live_speed
from ..backends.liveportrait.stitching import stitched
from ..backends.registry import LIVEPORTRAIT
from ..device import device_name, peak_memory, reset_peak_memory
from ..errors import InputError
from ..faces.crop import Box, Face, crop_image, whole_frame
from ..live.liveportrait import LIVE_STRENGTHS, LivePortraitPerformer
from ..live.liveportrait_source import LiveReference, read_live_reference
from ..live.types import Captured, Settings
from ..media.picture import Picture
from ..modules.spade import SpadeDecoder
from ..modules.warping import WarpingNetwork
from .figures import LoopCost
from .liveportrait_networks import SMALL_WIDTH, count_live, random_live
from .loop import drawn_frames, drawn_portrait
from .measure import size_of
from .report import BenchReport, StageCost
from .run import READY
from .stages import measure_stage
from .variants import free

_FACE = Box(0.3 * SIDE, 0.3 * SIDE, 0.7 * SIDE, 0.7 * SIDE)  # the drawn portrait's
_RATE = 25  # driving frames per second
_RECORDED = ("appearance", "motion", "warping", "decoder")  # stages that a speed other than plain changes


@dataclass(frozen=True)
class LivePortraitOptions:
    """What is measured of LivePortrait. Raises InputError for numbers or speeds that cannot be measured."""

    width: int = SMALL_WIDTH  # channels of the decoder, see `live_sizes`
    precision: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    frames: int = 32  # driving frames of the loop
    repeats: int = 3
    speeds: tuple[str, ...] = ("plain",)  # names of LIVE_SPEEDS, measured beside one another

    def __post_init__(self) -> None:
        if self.frames < 2 or self.repeats < 1:  # noqa: PLR2004 - from one picture to the next
            raise InputError(
                f"a loop of at least 2 frames and 1 repeat can be measured, got {self.frames} and {self.repeats}: "
                "raise them"
            )
        for name in self.speeds or ("",):
            choose_live_speed(name, self.device)


def run_liveportrait_bench(options: LivePortraitOptions) -> BenchReport:
    """Measures networks with random weights on a drawn portrait and drawn driving frames, one frame at a time.

    The first speed's loop is the report's; where speeds are several each has a loop more, after one that prepares it.
    """
    device, model = options.device, random_live(options.width, options.device, options.precision)
    parameters, size = size_of(model.networks)
    variants = live_variants(model, options)
    speed, several = next(iter(variants)), len(variants) > 1
    flops = count_live(options.width)
    stages, loops = _stages(speed, variants[speed], flops, options), list[LoopCost]()
    reset_peak_memory(device)
    first, fps, whole = time_loop(variants[speed], options)
    peak = peak_memory(device)
    for name, variant in variants.items():
        stages += [] if name == speed else _stages(name, variant, flops, options)
        loops += [_loop(name, variant, options)] if several else []
        free(variant.run)
    return BenchReport(
        widths=(options.width,),
        size=SIDE,
        precision=str(options.precision).removeprefix("torch."),
        device=device_name(device),
        decoder="full",
        compiled=speed != "plain",
        frames=options.frames,
        torch=torch.__version__,
        parameters=parameters,
        weight_bytes=size,
        stages=tuple(stages),
        first_frame_seconds=first,
        fps=fps,
        fps_whole=whole,
        peak_memory=peak,
        speed=speed,
        loops=tuple(loops),
        system=LIVEPORTRAIT,
    )


def live_variants(model: LivePortrait, options: LivePortraitOptions) -> dict[str, LivePortrait]:
    """The model at each speed, by its name; a speed that this device runs plain is plain, and measured once."""
    plans = {name: choose_live_speed(name, options.device) for name in options.speeds}
    return {("plain" if plan.plain else name): with_live_speed(model, plan) for name, plan in plans.items()}


def _stages(speed: str, model: LivePortrait, flops: dict[str, int], options: LivePortraitOptions) -> list[StageCost]:
    """The stages at a speed; those that no speed changes at the first alone."""
    read = read_live_reference(model, drawn_portrait(SIDE), SIDE, lambda _: (Face(_FACE, 1.0),))
    costs = []
    for name, call in _calls(model, read).items():
        if speed != options.speeds[0] and name not in _RECORDED:
            continue
        with torch.inference_mode():
            for _ in range(0 if speed == "plain" else READY):
                call()
        cost = StageCost(name, 1, 0.0, flops.get(name, 0), None, speed)
        costs.append(measure_stage(cost, call, options.repeats, options.device))
    return costs


def _loop(speed: str, model: LivePortrait, options: LivePortraitOptions) -> LoopCost:
    """A loop of a model, after another that has made it ready."""
    ready, *_ = time_loop(model, options)
    reset_peak_memory(options.device)
    first, fps, _ = time_loop(model, options)
    return LoopCost(speed, "full", 0, fps, ready, first, None, None, peak_memory(options.device))


def _calls(model: LivePortrait, read: LiveReference) -> dict[str, Callable[[], object]]:
    """Calls that run each network for one frame, and the CPU's work beside them."""
    frame = drawn_frames(SIDE)[0]
    small = unit_pictures([cropped_input(frame)])
    own, device = read.source.motion.keypoints, model.device
    volume, pictures = read.source.volume, small.to(device, model.dtype)
    with torch.inference_mode():
        there = own.to(device)
        features = model.warping(volume, there, there).features
    result, paste = drawn_portrait(SIDE), read.paste
    return {
        "appearance": lambda: model.appearance(pictures),
        "motion": lambda: model.read_motion(pictures),
        "warping": lambda: _run(model, _warp, model.warping, volume, there, there),
        "decoder": lambda: _run(model, _decode, model.decoder, features),
        "stitching": lambda: stitched(model, own, own),
        "crop": lambda: unit_pictures([cropped_input(frame)]),
        "paste": lambda: paste(result) if paste else None,
    }


def _warp(warping: WarpingNetwork, volume: Tensor, source: Tensor, keypoints: Tensor) -> Tensor:
    features: Tensor = warping(volume, source, keypoints).features
    return features


def _decode(decoder: SpadeDecoder, features: Tensor) -> Tensor:
    pixels: Tensor = decoder(features)
    return pixels


def _run(model: LivePortrait, stage: Callable[..., Tensor], network: nn.Module, *inputs: Tensor) -> object:
    """A stage that the loop runs together with others, alone but as the model runs it."""
    return stage(network, *inputs) if model.run is None else model.run(stage, (network,), inputs, ())


def cropped_input(frame: Picture) -> Picture:
    """A driving frame [H, W, 3] as the extractor takes it."""
    return crop_image(frame, whole_frame(frame.shape[:2]), INPUT_SIDE)


def time_loop(model: LivePortrait, options: LivePortraitOptions) -> tuple[float, float, float]:
    """Seconds from portrait to first picture; pictures per second in the steady state, and of the whole loop."""
    portrait, frames = drawn_portrait(SIDE), drawn_frames(SIDE)
    start = time.perf_counter()
    read = read_live_reference(model, portrait, SIDE, lambda _: (Face(_FACE, 1.0),))
    performer = LivePortraitPerformer(model, read.source, read.portrait, read.paste)
    begun = time.perf_counter()
    state, arrivals = performer.begin(), []
    for index in range(options.frames):
        frame = Captured(frames[index % len(frames)], index, index / _RATE)
        state = performer.perform(state, [frame], Settings(LIVE_STRENGTHS)).state
        arrivals.append(time.perf_counter())
    steady = median(later - earlier for earlier, later in pairwise(arrivals))
    return arrivals[0] - start, 1 / steady, options.frames / (arrivals[-1] - begun)
