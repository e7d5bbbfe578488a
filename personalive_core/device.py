"""The device the networks run on: choice of device and precision, name, copies to and from it, peak memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import InputError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")  # Linux's memory figures of this process
_RESET_PEAK = "5"  # written to clear_refs, resets the peak resident size (VmHWM)
_KIB = 1024
MIB = 2**20  # bytes

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def device_name(device: torch.device) -> str:
    """The GPU's name, or the device type and the number of CPU threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def pick_device(name: str = "auto") -> torch.device:
    """The device `name`; for "auto" the first of CUDA, MPS and XPU that is available, else the CPU.

    Raises InputError if the device cannot be used.
    """
    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, ImportError) as error:  # ImportError: torch's own module is not there
            raise InputError(f"device {name!r} cannot be used here ({error}): use --device cpu") from error
        return device
    backends = {"cuda": torch.cuda, "mps": torch.backends.mps, "xpu": torch.xpu}
    return torch.device(next((name for name, backend in backends.items() if backend.is_available()), "cpu"))


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """The precision `name`; for "auto" the fastest type with native support on the device and no visible loss.

    Raises InputError for an unknown name.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise InputError(f"unknown precision {name!r}: use auto, {', '.join(PRECISIONS)}")
        return PRECISIONS[name]
    if device.type == "cpu":
        return torch.bfloat16 if cpu_has_bfloat16() else torch.float32
    return torch.float16 if device.type in ("cuda", "mps") else torch.bfloat16


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 matrices natively."""
    capabilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch has no such query
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def synchronize(device: torch.device) -> None:
    """Waits until all queued work on `device` is done."""
    if device.type == "mps":
        torch.mps.synchronize()  # there is only one
    else:
        getattr(torch, device.type).synchronize(device)  # without it, the thread's current one: cuda:0 for cuda:1


def results_behind(device: torch.device) -> int:
    """How many windows later a result is read: 1 on a CUDA device, so that it always has work; else 0."""
    return 1 if device.type == "cuda" else 0


def queue_beside(device: torch.device) -> torch.cuda.Stream | None:
    """A second queue of a CUDA device, for work beside the current one's; None on devices that have one queue."""
    if device.type != "cuda":
        return None
    queue = torch.cuda.Stream(device)
    queue.wait_stream(torch.cuda.current_stream(device))
    return queue


def working_in(queue: torch.cuda.Stream | None) -> AbstractContextManager[object]:
    """A block whose work goes into `queue`; None: where it would go anyway."""
    return nullcontext() if queue is None else torch.cuda.stream(queue)


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`. To a CUDA device the copy is only queued: neither the program nor the device waits."""
    if device.type != "cuda" or tensor.device.type != "cpu" or tensor.requires_grad:
        return tensor.to(device)
    return (tensor if tensor.is_pinned() else tensor.pin_memory()).to(device, non_blocking=True)


@dataclass(frozen=True, eq=False)
class Download:
    """Copies of tensors on the CPU that may still be under way."""

    tensors: tuple[Tensor, ...]
    done: torch.cuda.Event | None = None  # None: they are there

    def read(self) -> tuple[Tensor, ...]:
        """The copies, once they are there."""
        if self.done is None:
            return self.tensors
        self.done.synchronize()
        return tuple(tensor.clone() for tensor in self.tensors)  # their page-locked memory serves later copies


def copy_down(*tensors: Tensor) -> Download:
    """Begins to copy `tensors`, all on one device, to the CPU, after the work queued so far."""
    device = tensors[0].device
    if device.type != "cuda":
        return Download(tuple(tensor.cpu() for tensor in tensors))
    copies = tuple(torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors)
    for copy, tensor in zip(copies, tensors, strict=True):
        copy.copy_(tensor.contiguous(), non_blocking=True)
    done = torch.cuda.Event(blocking=True)  # the waiting thread sleeps: others decode and encode
    done.record(torch.cuda.current_stream(device))
    return Download(copies, done)


def reset_peak_memory(device: torch.device) -> None:
    """Resets `peak_memory`; without CUDA or Linux nothing is reset, and the peak is that since the process began."""
    if device.type == "cuda":
        torch.cuda.empty_cache()  # what is kept of earlier work, and used by none, is no part of the next peak
        torch.cuda.reset_peak_memory_stats(device)
    elif _CLEAR.exists():
        try:
            _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        except OSError:  # some containers forbid it: the peak is then that since the process began
            return


def peak_memory(device: torch.device) -> int | None:
    """Peak bytes: held on a CUDA device, else resident in this process; None if the system gives no figure.

    Held, not allocated: of the memory that a CUDA graph works in, only results count as allocated after the capture.
    Linux does not use getrusage: there a child process starts with its parent's peak.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines() if _STATUS.exists() else []
    peaks = [int(line.split()[1]) * _KIB for line in lines if line.startswith("VmHWM:")]
    return peaks[0] if peaks else _peak_by_getrusage()


def _peak_by_getrusage() -> int | None:
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else _KIB)
