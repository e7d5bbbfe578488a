"""Measures of one call or one network: median time, floating-point operations, peak memory, size."""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

Module = TypeVar("Module", bound=nn.Module)

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux's own account of this process
_RESET_PEAK = "5"
_KIB = 1024


def median_seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """Median wall time of `repeats` calls after one that is not counted; each ends when `device` has finished."""

    def seconds() -> float:
        start = time.perf_counter()
        call()
        synchronize(device)
        return time.perf_counter() - start

    synchronize(device)
    seconds()
    return statistics.median(seconds() for _ in range(repeats))


def synchronize(device: torch.device) -> None:
    """Waits until `device` has done what was asked of it."""
    getattr(torch, device.type).synchronize()


def count_flops(call: Callable[[], object]) -> int:
    """Floating-point operations of matrix products and convolutions in `call`, a multiply-add counted as two."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def on_meta(module: Module) -> Module:
    """A copy whose tensors have shapes but no memory; the module stays as it is, and nothing of it is copied first."""
    memo: dict[int, object] = {id(p): nn.Parameter(p.to("meta"), p.requires_grad) for p in module.parameters()}
    memo |= {id(buffer): buffer.to("meta") for buffer in module.buffers()}
    return copy.deepcopy(module, memo)


def size_of(modules: Iterable[nn.Module]) -> tuple[int, int]:
    """How many parameters all `modules` have, and how many bytes these take with the buffers."""
    listed = list(modules)
    parameters = [tensor for module in listed for tensor in module.parameters()]
    buffers = [tensor for module in listed for tensor in module.buffers()]
    return sum(t.numel() for t in parameters), sum(t.numel() * t.element_size() for t in (*parameters, *buffers))


def reset_peak_memory(device: torch.device) -> None:
    """Lets `peak_memory` begin anew; outside Linux and CUDA the peak stays that of the whole process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:  # some containers forbid it: the figure is then the peak since the process began
            return


def peak_memory(device: torch.device) -> int | None:
    """Most bytes held at once: allocated on a CUDA device, else resident in this process; None where nobody tells.

    On Linux not getrusage's figure: a process that another one started begins there with its parent's peak.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines() if _STATUS.exists() else []
    peaks = [int(line.split()[1]) * _KIB for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else _peak_by_getrusage()


def _peak_by_getrusage() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
