"""What the GPU did while a call ran, by torch's profiler: kernels by kind, the share of time it worked, waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch._C._autograd import DeviceType
from torch.autograd.profiler_util import FunctionEvent
from torch.profiler import ProfilerActivity, profile

from ..device import synchronize

# The first pattern that is found in a kernel's or operation's name says its kind.
FAMILIES = (
    ("attention", r"sdpa|fmha|flash|attention|softmax"),
    ("normalisation", r"group_?norm|layer_?norm|batch_?norm|rowwisemoments|fusedparams|vector_norm"),
    ("layout conversion", r"nchwto|nhwcto"),
    ("convolution", r"conv|fprop|wgrad|implicit"),
    ("product", r"gemm|gemv|cutlass|nvjet|cublas|::addmm|::mm\b|::bmm|::baddbmm|scaled_mm|splitk"),
    ("compiled", r"triton_|^graph_|_fused_"),
    ("copy, concatenation", r"copy|memcpy|memset|::cat\b|catarray|::clone|contiguous"),
    ("activation", r"gelu|silu|sigmoid|relu"),
    ("resampling", r"upsample|interp|pool"),
    ("elementwise", r"elementwise|::add|::mul|::div|::sub|::clamp|::round"),
)
OTHER = "other"
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize", "cudaMemcpy")


@dataclass(frozen=True)
class Work:
    """One piece of work of the GPU, or one operation of the CPU: name, start and end in seconds."""

    name: str
    start: float
    end: float


@dataclass(frozen=True)
class GpuTrace:
    """What ran while a call was profiled."""

    work: tuple[Work, ...]  # on the GPU; for a CPU its operations, whose seconds exclude those that they call
    waits: int  # calls in which the host waited for the GPU
    seconds: float  # wall time of the call


def family_of(name: str) -> str:
    """The kind of a kernel or operation called `name`."""
    return next((family for family, pattern in FAMILIES if re.search(pattern, name.lower())), OTHER)


def by_family(work: Iterable[Work]) -> dict[str, tuple[float, int]]:
    """{kind: (seconds, number)} of `work`, the longest first."""
    found: dict[str, tuple[float, int]] = {}
    for span in work:
        seconds, count = found.get(family_of(span.name), (0.0, 0))
        found[family_of(span.name)] = seconds + span.end - span.start, count + 1
    return dict(sorted(found.items(), key=lambda item: -item[1][0]))


def covered(work: Iterable[Work]) -> float:
    """Seconds in which at least one span of `work` runs."""
    total, until = 0.0, float("-inf")
    for span in sorted(work, key=lambda span: span.start):
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total


def trace(call: Callable[[], object], device: torch.device) -> GpuTrace:
    """Runs `call` under the profiler, and waits until `device` is done."""
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU]) as profiler:
        call()
        synchronize(device)
    events = profiler.events() or []
    spans = [_span(event, on_gpu) for event in events if _is_work(event, on_gpu)]
    waits = sum(event.name in WAITS for event in events)
    starts, ends = [s.start for s in spans], [s.end for s in spans]
    return GpuTrace(tuple(spans), waits, max(ends) - min(starts) if spans else 0.0)


def _is_work(event: FunctionEvent, on_gpu: bool) -> bool:
    is_on_gpu = event.device_type != DeviceType.CPU
    return is_on_gpu == on_gpu and (on_gpu or event.name.startswith(("aten::", "mkldnn::")))


def _span(event: FunctionEvent, on_gpu: bool) -> Work:
    start = event.time_range.start / 1e6
    length = (event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total) / 1e6
    return Work(event.name, start, start + length)
