"""Measures LivePortrait: time, floating-point operations and memory of each network, and the loop with paste-back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch

from ..backends.liveportrait.crops import SIDE
from ..backends.liveportrait.driving import INPUT_SIDE
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.motion import unit_pictures
from ..backends.liveportrait.stitching import stitched
from ..backends.registry import LIVEPORTRAIT
from ..device import device_name, peak_memory, reset_peak_memory
from ..errors import InputError
from ..faces.crop import Box, Face, crop_image, whole_frame
from ..live.liveportrait import LIVE_STRENGTHS, LivePortraitPerformer
from ..live.liveportrait_source import LiveReference, read_live_reference
from ..live.types import Captured, Settings
from ..media.picture import Picture
from .liveportrait_networks import SMALL_WIDTH, count_live, random_live
from .loop import drawn_frames, drawn_portrait
from .measure import size_of
from .report import BenchReport, StageCost
from .stages import measure_stage

_FACE = Box(0.3 * SIDE, 0.3 * SIDE, 0.7 * SIDE, 0.7 * SIDE)  # the drawn portrait's
_RATE = 25  # driving frames per second


@dataclass(frozen=True)
class LivePortraitOptions:
    """What is measured of LivePortrait. Raises InputError for numbers that cannot be measured."""

    width: int = SMALL_WIDTH  # channels of the decoder, see `live_sizes`
    precision: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    frames: int = 32  # driving frames of the loop
    repeats: int = 3

    def __post_init__(self) -> None:
        if self.frames < 2 or self.repeats < 1:  # noqa: PLR2004 - from one picture to the next
            raise InputError(
                f"a loop of at least 2 frames and 1 repeat can be measured, got {self.frames} and {self.repeats}: "
                "raise them"
            )


def run_liveportrait_bench(options: LivePortraitOptions) -> BenchReport:
    """Measures networks with random weights on a drawn portrait and drawn driving frames, one frame at a time."""
    device, flops = options.device, count_live(options.width)
    model = random_live(options.width, device, options.precision)
    parameters, size = size_of(model.networks)
    portrait = drawn_portrait(SIDE)
    read = read_live_reference(model, portrait, SIDE, lambda _: (Face(_FACE, 1.0),))
    stages = tuple(
        measure_stage(StageCost(name, 1, 0.0, flops.get(name, 0), None, "plain"), call, options.repeats, device)
        for name, call in _calls(model, read).items()
    )
    reset_peak_memory(device)
    first, fps, whole = time_loop(model, options)
    return BenchReport(
        widths=(options.width,),
        size=SIDE,
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
        fps_whole=whole,
        peak_memory=peak_memory(device),
        speed="plain",
        system=LIVEPORTRAIT,
    )


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
        "warping": lambda: model.warping(volume, there, there),
        "decoder": lambda: model.decoder(features),
        "stitching": lambda: stitched(model, own, own),
        "crop": lambda: unit_pictures([cropped_input(frame)]),
        "paste": lambda: paste(result) if paste else None,
    }


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
