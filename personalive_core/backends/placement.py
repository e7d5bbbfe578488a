"""Where networks compute when a host program manages memory, and work in parts when the device has too little."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Placement:
    """Compute device and dtype where a host program manages memory: weights may lie elsewhere, or in fewer bits."""

    device: torch.device
    dtype: torch.dtype
    bring: Callable[[tuple[nn.Module, ...]], None]  # callback: gets the networks that are about to run
    # callback: a value that changes with the weights of these networks; None while they lie elsewhere, are kept in
    # another form, or are added to as they are used. Without it all runs plain.
    token: Callable[[tuple[nn.Module, ...]], Hashable | None] = lambda _networks: None


def out_of_memory(error: BaseException) -> bool:
    """True if a device ran out of memory: CUDA and ROCm have an exception type for it, MPS only a message."""
    told = isinstance(error, RuntimeError) and "out of memory" in str(error).lower()
    return told or isinstance(error, torch.cuda.OutOfMemoryError)


def in_parts(call: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """`call` on all `frames` at once; if the device runs out of memory, on each half, down to single frames."""
    try:
        return call(frames)
    except RuntimeError as error:
        if len(frames) == 1 or not out_of_memory(error):
            raise
    # outside the handler: inside it, the error would keep the failed attempt's tensors in memory
    torch.cuda.empty_cache()
    return torch.cat([in_parts(call, part) for part in frames.tensor_split(2)])
