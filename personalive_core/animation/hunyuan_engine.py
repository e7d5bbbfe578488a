"""Choice of HunyuanPortrait's networks, device and precision; its licence and files are checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from ..backends.hunyuan.files import check_licence, locate_hunyuan
from ..backends.hunyuan.loader import load_hunyuan
from ..backends.hunyuan.model import HunyuanPortrait
from ..backends.hunyuan.types import PORTRAIT_SIDE
from ..modules.layers import Ops
from ..modules.stored import StoredOps

_FP8 = "fp8"  # the UNet's matrices are stored in 8 bits, and cast for each use
HUNYUAN_SPEEDS = ("auto", "plain", _FP8)


@dataclass(frozen=True)
class HunyuanEngine:
    """The requested networks of HunyuanPortrait, not yet loaded."""

    weights: Path
    device: torch.device
    precision: torch.dtype
    license_accepted: bool
    size: int = PORTRAIT_SIDE  # pixels a side of the animated square
    speed: str = "plain"  # one of HUNYUAN_SPEEDS

    def require(self) -> None:
        """Reads no weights. Raises InputError unless the licence is accepted, WeightsError that names missing files."""
        check_licence(self.license_accepted)
        locate_hunyuan(self.weights)

    def load(self) -> HunyuanPortrait:
        """Loads the networks. Raises as `require` does, and WeightsError if a key does not fit."""
        if self.speed != _FP8:
            return load_hunyuan(self.weights, self.device, self.precision, self.license_accepted)
        storage = torch.float8_e4m3fn
        return load_hunyuan(
            self.weights, self.device, self.precision, self.license_accepted, cast(Ops, StoredOps), storage
        )
