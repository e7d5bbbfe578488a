"""Choice of LivePortrait's networks, device and precision; files are checked at once, networks load when needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..backends.liveportrait.files import require_live
from ..backends.liveportrait.loader import load_live
from ..backends.liveportrait.model import LivePortrait


@dataclass(frozen=True)
class LivePortraitEngine:
    """The requested networks of LivePortrait, not yet loaded."""

    weights: Path
    device: torch.device
    precision: torch.dtype
    subject: str = "human"  # one of SUBJECTS

    def require(self) -> None:
        """Raises WeightsError that names each missing file and the command to download it; reads no weights."""
        require_live(self.weights, self.subject)

    def load(self) -> LivePortrait:
        """Loads the networks. Raises WeightsError if a file or a key does not fit."""
        return load_live(self.weights, self.device, self.precision, self.subject)
