"""Fused functions between and in place of layers, each as plain torch and as a Triton kernel in one file.

The networks take a set of them from the attribute `kernels` of their `ops` namespace, PLAIN if it has none. Each takes
the layers whose weights it reads. A Triton function calls its twin where it may not read them (`compiler.is_readable`),
where gradients are recorded and on other devices, so a set made for a GPU is right everywhere. Importing this package
does not import Triton; `triton_kernels` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

from .compiler import Compiler
from .convolution import (
    AddFunction,
    ConvolutionFunction,
    PointwiseFunction,
    matrix_pointwise,
    plain_add,
    plain_convolution,
    plain_pointwise,
    split_convolution,
    triton_add,
)
from .frames import FramesFunction, plain_frames, triton_frames
from .geglu import GegluFunction, plain_geglu, triton_geglu
from .group_norm import GroupNormFunction, plain_group_norm, triton_group_norm
from .layer_norm import AddNormFunction, plain_add_norm, triton_add_norm
from .tokens import (
    AttentionFunction,
    BesideFunction,
    plain_attention,
    plain_beside,
    triton_attention,
    triton_beside,
)
from .upsampling import UpsampleFunction, plain_upsample, triton_upsample

_LAYERS = ("Linear", "Conv2d", "Conv3d", "GroupNorm", "LayerNorm")
_ATTENTION = "scaled_dot_product_attention"
_OLDEST = (8, 0)  # compute capability of the oldest GPUs that have matrix units for all our number types


@dataclass(frozen=True)
class Kernels:
    """One set of functions; their files say what each does."""

    group_norm: GroupNormFunction = plain_group_norm
    add_norm: AddNormFunction = plain_add_norm
    geglu: GegluFunction = plain_geglu
    frames: FramesFunction = plain_frames
    attention: AttentionFunction = plain_attention
    beside: BesideFunction = plain_beside
    convolution: ConvolutionFunction = plain_convolution
    pointwise: PointwiseFunction = plain_pointwise
    add: AddFunction = plain_add
    upsample: UpsampleFunction = plain_upsample


PLAIN = Kernels()


@cache
def triton_kernels(device: str = "cuda") -> Kernels:
    """The Triton functions for tensors on `device` ("cpu": in Triton's interpreter). Raises ImportError without it."""
    compiler = Compiler(device)
    return Kernels(
        triton_group_norm(compiler),
        triton_add_norm(compiler),
        triton_geglu(compiler),
        triton_frames(compiler),
        triton_attention(compiler),
        triton_beside(compiler),
        split_convolution(compiler),
        matrix_pointwise(compiler),
        triton_add(compiler),
        triton_upsample(compiler),
    )


def kernels_of(ops: Any) -> Kernels:  # noqa: ANN401 - a namespace of layer classes
    """The set in the namespace `ops`, PLAIN if it has none."""
    kernels: Kernels = getattr(ops, "kernels", PLAIN)
    return kernels


def is_fused(network: nn.Module) -> bool:
    """True if a layer of `network` has other functions than the twins."""
    # by value: a network that was copied has a copy of its set
    return any(getattr(module, "kernels", PLAIN) != PLAIN for module in network.modules())


def fast_ops(device: torch.device, ops: Any = nn) -> tuple[Any, str]:  # noqa: ANN401 - as above
    """The layers of `ops` with the Triton functions, and ""; or `ops` itself, and a sentence that says why.

    The device runs a small kernel first: Triton needs a C compiler, which not every machine has.
    """
    if device.type != "cuda":
        return ops, f"The fused kernels are for NVIDIA GPUs, and the device is {device.type}."
    if torch.version.hip:
        return ops, "The fused kernels are for NVIDIA GPUs, and this one is AMD's."
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST:
        return ops, f"The fused kernels need compute capability 8.0, and this GPU has {'.'.join(map(str, capability))}."
    try:
        kernels = triton_kernels()
        with torch.no_grad():
            kernels.geglu(torch.ones(1, 32, device=device, dtype=torch.float16))
    except Exception as error:
        reason = str(error).strip().split("\n", 1)[0]
        return ops, f"The fused kernels need Triton, which does not work here ({type(error).__name__}: {reason})."
    layers = {name: getattr(ops, name) for name in (*_LAYERS, _ATTENTION) if hasattr(ops, name)}
    return SimpleNamespace(**layers, kernels=kernels), ""
