"""Choice of LivePortrait's networks, device and precision; files are checked at once, networks load when needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..backends.liveportrait.files import require_live
from ..backends.liveportrait.loader import load_live
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.speed import choose_live_speed, with_live_speed


@dataclass(frozen=True)
class LivePortraitEngine:
    """The requested networks of LivePortrait, not yet loaded."""

    weights: Path
    device: torch.device
    precision: torch.dtype
    subject: str = "human"  # one of SUBJECTS
    speed: str = "plain"  # one of LIVE_SPEEDS

    def require(self) -> None:
        """Raises WeightsError that names each missing file and the command to download it; reads no weights."""
        require_live(self.weights, self.subject)

    def load(self) -> LivePortrait:
        """Loads the networks. Raises WeightsError if a file or a key does not fit, InputError for an unknown speed."""
        speed = choose_live_speed(self.speed, self.device)
        return with_live_speed(load_live(self.weights, self.device, self.precision, self.subject), speed)
