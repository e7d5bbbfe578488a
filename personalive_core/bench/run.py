"""Measures time, floating-point operations and memory of each stage, streams, and what limits them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import STREAM
from ..device import device_name, peak_memory, reset_peak_memory
from ..errors import InputError
from .accuracy import make_case, measure_accuracy
from .ceilings import measure_ceilings
from .figures import KernelFamily, LiveCost, LoopCost
from .host import measure_host
from .live import measure_live
from .loop import frame_rates, measure_loop, time_stream, with_decoder
from .measure import size_of
from .networks import random_model
from .options import BenchOptions
from .report import BenchReport, StageCost
from .stages import count_stages, measure_stage, timed_calls
from .trace import by_family, trace
from .variants import VARIANTS, free

__all__ = ["BenchOptions", "count_stages", "frame_rates", "run_bench"]

READY = 3  # calls after which a variant has compiled what it compiles

_Stream = tuple[float, float, float, int | None]  # as `time_stream`, and the peak memory


def run_bench(options: BenchOptions, model: PersonaLive | None = None) -> BenchReport:
    """Measures `model`, or networks with random weights, on a drawn portrait and drawn driving frames.

    Raises InputError if the model lacks a requested decoder.
    """
    model = model or random_model(options.widths, options.device, options.precision)
    options = replace(options, widths=model.denoising_unet.config.widths, device=model.device, precision=model.dtype)
    if "tiny" in (options.decoder, *options.decoders) and model.tiny_vae is None:
        raise InputError("the model has no tiny decoder to measure: load it with decoder tiny, or measure full")
    parameters, size = size_of([network for network in vars(model).values() if isinstance(network, nn.Module)])
    flops, speed = count_stages(model, options.size), options.measured_speeds[0]
    variants = {name: VARIANTS[name](model) for name in options.measured_speeds}
    figures = [_figures(name, variant, flops, options) for name, variant in variants.items()]
    first, whole, steady, peak = figures[0].stream
    report = BenchReport(
        widths=options.widths,
        size=options.size,
        precision=str(options.precision).removeprefix("torch."),
        device=device_name(options.device),
        decoder=options.decoder,
        compiled=speed != "plain",
        frames=options.frames,
        torch=torch.__version__,
        parameters=parameters,
        weight_bytes=size,
        stages=tuple(cost for of_speed in figures for cost in of_speed.stages),
        first_frame_seconds=first,
        fps=steady,
        fps_whole=whole,
        peak_memory=peak,
        speed=speed,
        loops=tuple(cost for of_speed in figures for cost in of_speed.loops),
        live=tuple(cost for of_speed in figures for cost in of_speed.live),
    )
    return _profiled(report, variants, options) if options.profile else report


@dataclass(frozen=True)
class _Figures:
    """What is measured of one speed."""

    stages: list[StageCost]
    stream: _Stream  # zeros: not measured
    loops: list[LoopCost]
    live: list[LiveCost]


def _figures(speed: str, model: PersonaLive, flops: dict[str, int], options: BenchOptions) -> _Figures:
    """Stages, loops and live sessions; of the first speed a whole stream too, from its start to its end."""
    stages = _stages(speed, model, flops, options)
    stream: _Stream = (0.0, 0.0, 0.0, None)
    if speed == options.measured_speeds[0]:
        reset_peak_memory(model.device)
        times = time_stream(with_decoder(model, options.decoder), options)
        stream = *times, peak_memory(model.device)
    figures = _Figures(stages, stream, _loops(speed, model, options), _live(speed, model, options))
    free(model.run)
    return figures


def _stages(speed: str, model: PersonaLive, flops: dict[str, int], options: BenchOptions) -> list[StageCost]:
    costs = []
    for name, call in timed_calls(model, options.size).items():
        with torch.inference_mode():
            for _ in range(0 if speed == "plain" else READY):
                call()
        stage = StageCost(name, 1 if name == "reference" else STREAM.window, 0.0, flops.get(name, 0), None, speed)
        costs.append(measure_stage(stage, call, options.repeats, model.device))
    return costs


def _loops(speed: str, model: PersonaLive, options: BenchOptions) -> list[LoopCost]:
    return [measure_loop(with_decoder(model, decoder), speed, count, options) for decoder, count in options.loops]


def _live(speed: str, model: PersonaLive, options: BenchOptions) -> list[LiveCost]:
    return [
        measure_live(with_decoder(model, decoder), speed, mode, options.size, options.live_seconds)
        for decoder in options.decoders or (options.decoder,)
        for mode in options.live
    ]


def _profiled(report: BenchReport, variants: dict[str, PersonaLive], options: BenchOptions) -> BenchReport:
    """The report with what shows why the figures are as they are; accuracy last, for it needs other weights."""
    kernels = tuple(found for name, variant in variants.items() for found in _kernels(name, variant, options))
    report = replace(report, kernels=kernels, host=measure_host(options), ceilings=measure_ceilings(options))
    case = make_case(options)
    return replace(report, accuracy=tuple(measure_accuracy(case, name, options.precision) for name in variants))


def _kernels(speed: str, model: PersonaLive, options: BenchOptions) -> list[KernelFamily]:
    """The kernels of one step, by kind."""
    with torch.inference_mode():
        call = timed_calls(model, options.size)["step_0"]
        for _ in range(READY):
            call()
        found = by_family(trace(call, model.device).work)
    return [KernelFamily(speed, family, seconds, count) for family, (seconds, count) in found.items()]
