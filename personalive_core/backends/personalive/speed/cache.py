"""Compiled kernels on disk: one file for each machine, version and shape, of which the newest few are kept."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import platform
from collections.abc import Hashable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from ....text import warn_once
from ....version import __version__

KEPT = 16  # files
KERNELS_SUFFIX = ".kernels"

_log = logging.getLogger(__name__)


def folder() -> Path:
    """Where compiled kernels are kept: PERSONALIVE_CACHE, else a folder in the user's cache."""
    given, cache = os.environ.get("PERSONALIVE_CACHE"), os.environ.get("XDG_CACHE_HOME")
    return Path(given) if given else Path(cache or Path.home() / ".cache") / "personalive" / "kernels"


def machine(device: torch.device) -> tuple[str, ...]:
    """What compiled kernels depend on besides the code that is compiled."""
    try:
        triton = version("triton")
    except PackageNotFoundError:
        triton = str(importlib.util.find_spec("triton") is not None)
    facts = [__version__, torch.__version__, triton, platform.python_version(), platform.machine(), device.type]
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        driver = getattr(torch._C, "_cuda_getDriverVersion", lambda: 0)()
        facts += [card.name, f"{card.major}.{card.minor}", str(torch.version.cuda), str(driver)]
    return tuple(map(str, facts))


def kernels_file(device: torch.device, what: Hashable) -> Path:
    """The file for `what`: the stage, shapes of inputs and weights, and the options of the compiler."""
    told = repr((machine(device), what)).encode()
    return folder() / f"{hashlib.sha256(told).hexdigest()[:32]}{KERNELS_SUFFIX}"


def load_kernels(path: Path) -> bool:
    """Gives the compiler what `save_kernels` wrote; True if there was something. A damaged file is removed."""
    load = getattr(torch.compiler, "load_cache_artifacts", None)
    try:
        if load is None or not path.is_file():
            return False
        os.utime(path)  # newest: it is in use
        return load(path.read_bytes()) is not None
    except Exception as error:  # whatever a damaged file raises: all is compiled anew
        warn_once(_log, f"the compiled kernels in {path} cannot be used and are made anew ({type(error).__name__})")
        path.unlink(missing_ok=True)
        return False


def save_kernels(path: Path) -> None:
    """Writes all that was compiled in this process, and removes the oldest files; says once why, if it cannot."""
    save = getattr(torch.compiler, "save_cache_artifacts", None)
    try:
        made = save() if save else None
        if made is None:
            return
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.part")
        partial.write_bytes(made[0])
        partial.replace(path)
        files = sorted(path.parent.glob(f"*{KERNELS_SUFFIX}"), key=lambda file: file.stat().st_mtime)
        for file in files[:-KEPT]:
            file.unlink(missing_ok=True)
    except Exception as error:  # a full disk, or nothing to serialise: only the next start is slower
        why = f"{type(error).__name__}: {error}"
        warn_once(_log, f"compiled kernels are not kept, the next start compiles again ({why})")
