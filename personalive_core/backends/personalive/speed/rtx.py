"""TensorRT for RTX through Torch-TensorRT-RTX's published interface; untried, for want of such a card."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ....errors import InputError
from .cache import folder


def compiled_by_rtx(body: Callable[..., Any]) -> Callable[..., Any]:
    """`body` through the backend that the package torch-tensorrt-rtx registers with torch.compile.

    Weights become part of the engine, so a change of their values needs a new one. Raises InputError without the
    package.
    """
    try:
        import torch_tensorrt  # noqa: F401 - registers the backend "tensorrt"
    except (ImportError, OSError) as error:
        raise InputError(
            f"speed rtx needs Torch-TensorRT-RTX, which cannot be loaded ({error}): run `pip install .[rtx]`"
        ) from error
    # the kernels that TensorRT's compiler on this card makes
    options: dict[str, Any] = {"runtime_cache_path": str(folder() / "rtx.bin")}
    return torch.compile(body, backend="tensorrt", dynamic=False, options=options)
