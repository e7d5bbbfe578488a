"""Measurements of one call or one network: median time, floating-point operations, size."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ..device import synchronize

Module = TypeVar("Module", bound=nn.Module)


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median wall time in seconds of `repeats` calls, after one warm-up call.

    Each time includes the wait until `device` has finished all queued work.
    """

    def seconds() -> float:
        start = time.perf_counter()
        call()
        synchronize(device)
        return time.perf_counter() - start

    synchronize(device)
    seconds()
    return statistics.median(seconds() for _ in range(repeats))


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and convolutions in `call`; a multiply-add counts as two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def on_meta(module: Module) -> Module:
    """A copy on the meta device (shapes, no memory); the module stays unchanged, and its values are never copied."""
    memo: dict[int, object] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in module.parameters()}
    memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    return copy.deepcopy(module, memo)


def size_of(modules: Iterable[nn.Module]) -> tuple[int, int]:
    """Number of parameters of all `modules`, and bytes of their parameters and buffers together."""
    listed = list(modules)
    parameters = [tensor for module in listed for tensor in module.parameters()]
    buffers = [tensor for module in listed for tensor in module.buffers()]
    return sum(t.numel() for t in parameters), sum(t.numel() * t.element_size() for t in (*parameters, *buffers))
