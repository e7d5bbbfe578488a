"""Compiles the Triton kernels of this folder, and says for which tensors and layers they may be used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

_TYPES = (torch.float16, torch.bfloat16, torch.float32)
_TORCHS = (nn.Linear, nn.Conv2d, nn.GroupNorm, nn.LayerNorm)


@dataclass(frozen=True)
class Compiler:
    """Compiles kernels for tensors on one type of device. "cpu" is for tests, with Triton's interpreter."""

    device: str = "cuda"

    def __call__(self, kernel: Callable[..., None], *varying: str) -> Any:  # noqa: ANN401 - Triton declares no types
        """`kernel` as a Triton kernel, compiled at its first launch. Raises ImportError without Triton.

        Other values of the integers named in `varying` never compile it anew.
        """
        import triton
        import triton.language

        # Triton looks up what a kernel names among its file's globals; so the file itself need not import Triton
        kernel.__globals__["tl"] = triton.language
        compiled = triton.jit(kernel, do_not_specialize=varying)
        # each launch takes the host's time: with one device nothing is asked
        several = self.device == "cuda" and torch.cuda.device_count() > 1
        return _Beside(compiled) if several else compiled

    def takes(self, x: Tensor, *layers: nn.Module | None) -> bool:
        """True if a kernel may compute with `x` and the tensors of `layers`; gradients are left to the twins."""
        fits = x.device.type == self.device and x.dtype in _TYPES and not torch.is_grad_enabled()
        return fits and x.numel() > 0 and all(layer is None or is_readable(layer, x) for layer in layers)


@dataclass(frozen=True)
class _Beside:
    """A Triton kernel that is launched on the device of its first tensor; Triton takes the thread's current one."""

    kernel: Any

    def __getitem__(self, grid: tuple[int, ...]) -> Callable[..., None]:
        return partial(_launch, self.kernel[grid])


def _launch(launch: Callable[..., None], first: Tensor, *others: object, **sizes: object) -> None:
    if first.get_device() == torch.cuda.current_device():
        launch(first, *others, **sizes)
        return
    with torch.cuda.device_of(first):
        launch(first, *others, **sizes)


def is_readable(layer: nn.Module, x: Tensor) -> bool:
    """True if the layer's own tensors are what its `forward` would use for `x`.

    False for weights on another device or in another type, for weights that a host changes at each use (ComfyUI's
    `weight_function`, quantised tensors), and for layers of an unknown class.
    """
    if type(layer) not in _TORCHS:
        functions = [getattr(layer, f"{name}_function", None) for name in ("weight", "bias")]
        if not isinstance(layer, _TORCHS) or any(function is None or len(function) for function in functions):
            return False
    tensors = [tensor for tensor in (layer.weight, layer.bias) if tensor is not None]
    return bool(tensors) and all(
        type(tensor) in (Tensor, nn.Parameter) and tensor.device == x.device and tensor.dtype == x.dtype
        for tensor in tensors
    )


def power_of_two(number: int, least: int = 1) -> int:
    """The smallest power of two that is at least `number` and `least`."""
    return 1 << (max(number, least) - 1).bit_length()


def split_width(channels: int, most: int = 256, least: int = 32) -> int:
    """Channels per program: the largest power of two that divides `channels` (no lane idles), within bounds."""
    return min(max(channels & -channels, min(least, power_of_two(channels))), most)


def channels_last(x: Tensor) -> Tensor:
    """`x` [N, C, h, w] in channels-last memory format: itself if it is."""
    return x.contiguous(memory_format=torch.channels_last)
