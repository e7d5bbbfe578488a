"""Choice of speed for a device; what the machine lacks is said once, and less is chosen."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import sys
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from ....errors import InputError
from ....text import warn_once

SPEEDS = ("auto", "plain", "compiled", "fp8", "rtx")
OLDEST_TORCH = (2, 6)  # the first that compiles a block once for all layers of its shape
TRITON_CAPABILITY, FP8_CAPABILITY = (7, 0), (8, 9)  # the least compute capability that Triton and fp8 products need

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpeedPlan:
    """How network calls run. All but `fp8` and `rtx` keep the arithmetic of the plain path, up to rounding."""

    name: str = "plain"
    compiles: bool = False  # torch.compile of each repeated block kind
    graphs: bool = False  # CUDA graphs with static buffers
    fp8: bool = False  # products of the wide linear layers in 8-bit floats
    rtx: bool = False  # TensorRT-RTX instead of torch's own compiler
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of torch.compile, see torch._inductor.config

    @property
    def plain(self) -> bool:
        """True if networks are called as they are."""
        return not (self.compiles or self.graphs or self.fp8 or self.rtx)


AS_IT_IS = SpeedPlan()
GRAPHS = SpeedPlan("compiled", graphs=True)  # where there is no compiler
COMPILED = SpeedPlan("compiled", compiles=True, graphs=True)
IN_FP8 = replace(COMPILED, name="fp8", fp8=True)
RTX = SpeedPlan("rtx", rtx=True)


def lacks_compiler() -> str:
    """What is missing to build Triton's launcher in C, or inductor's loops in C++, in words; empty if nothing."""
    if sys.platform == "win32":
        return ""  # triton-windows brings a compiler; a failure while compiling is caught and said
    names = [os.environ.get("CC", ""), "cc", "gcc", "clang"]
    if not any(shutil.which(name) for name in names if name):
        return "there is no C compiler, install gcc"
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    return "" if header.is_file() else f"{header} is missing, install Python's development files (python3-dev)"


@dataclass(frozen=True)
class Machine:
    """What of a machine decides; by default this one."""

    capability: Callable[[torch.device], tuple[int, int]] = torch.cuda.get_device_capability
    triton: Callable[[], bool] = lambda: importlib.util.find_spec("triton") is not None
    compiler: Callable[[], str] = lacks_compiler
    rtx: Callable[[], bool] = lambda: importlib.util.find_spec("torch_tensorrt") is not None
    version: str = torch.__version__
    hip: str | None = torch.version.hip


def choose_speed(name: str, device: torch.device, machine: Machine | None = None) -> SpeedPlan:
    """The speed `name` on `device`, or as much of it as the machine can do; what it lacks is logged once.

    "auto" is compiled on CUDA, and plain elsewhere. Raises InputError for an unknown name, and for "rtx" without its
    package.
    """
    if name not in SPEEDS:
        raise InputError(f"unknown speed {name!r}: use {', '.join(SPEEDS)}")
    machine = machine or Machine()
    if name == "rtx" and not machine.rtx():
        raise InputError("speed rtx needs Torch-TensorRT-RTX, which is not installed: run `pip install .[rtx]`")
    if name == "plain" or (name == "auto" and (device.type != "cuda" or machine.hip)):
        return AS_IT_IS
    speed, reason = (_on_cuda if device.type == "cuda" else _elsewhere)(name, device, machine)
    if reason:
        warn_once(_log, reason)
    return speed


def _on_cuda(name: str, device: torch.device, machine: Machine) -> tuple[SpeedPlan, str]:
    capability = machine.capability(device)
    if name == "rtx":
        return RTX, ""
    lacking = _lacking(machine) or (
        f"Triton needs compute capability {_dotted(TRITON_CAPABILITY)}, this card has {_dotted(capability)}"
        if capability < TRITON_CAPABILITY and not machine.hip
        else ""
    )
    if lacking:
        return GRAPHS, f"the networks run in CUDA graphs without a compiler: {lacking}"
    if name == "fp8" and (capability < FP8_CAPABILITY or machine.hip):
        needed = f"an NVIDIA card of compute capability {_dotted(FP8_CAPABILITY)}"
        return COMPILED, f"speed fp8 needs {needed}, this one has {_dotted(capability)}: speed compiled is used"
    return (IN_FP8 if name == "fp8" else COMPILED), ""


def _elsewhere(name: str, device: torch.device, machine: Machine) -> tuple[SpeedPlan, str]:
    if name in ("fp8", "rtx"):
        return AS_IT_IS, f"speed {name} needs a CUDA device, this is {device.type}: speed plain is used"
    lacking = machine.compiler() if device.type == "cpu" else f"it is made for CUDA and the CPU, this is {device.type}"
    if lacking:
        return AS_IT_IS, f"speed compiled cannot be had, speed plain is used: {lacking}"
    return replace(COMPILED, graphs=False), ""


def _lacking(machine: Machine) -> str:
    """What torch.compile lacks for CUDA, in words; empty if nothing."""
    if tuple(int(part) for part in machine.version.split(".")[:2]) < OLDEST_TORCH:
        return f"it needs torch {_dotted(OLDEST_TORCH)}, this is {machine.version}"
    if not machine.triton():
        return "Triton is not installed, `pip install triton` (on Windows triton-windows) brings it"
    return machine.compiler()


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
