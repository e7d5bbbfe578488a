"""Choice of networks, device and precision; files are checked at once, networks load only when they are needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from ..backends.personalive.files import FILES
from ..backends.personalive.loader import DECODERS, Host, load_model
from ..backends.personalive.lora import Lora, with_lora
from ..backends.personalive.model import PersonaLive
from ..backends.personalive.speed.choice import choose_speed
from ..backends.personalive.speed.runner import with_speed
from ..backends.personalive.speed.units import Progress
from ..errors import WeightsError
from ..text import as_argument
from ..weights.index import WeightIndex, locate


@dataclass(frozen=True)
class Engine:
    """The requested networks, not yet loaded."""

    weights: Path
    device: torch.device
    precision: torch.dtype
    decoder: str = "full"
    size: int = 512  # pixels a side of the picture
    loras: tuple[tuple[Lora, float], ...] = ()  # each with its strength
    speed: str = "plain"  # one of SPEEDS
    progress: Progress | None = None  # told while the networks are compiled

    def require(self) -> None:
        """Raises WeightsError that names each missing file and the command to download it; reads no weights."""
        index = weight_index(self.weights)
        missing = index.missing(DECODERS[self.decoder])
        if missing:
            tiny = " --decoder tiny" if self.decoder == "tiny" else ""
            raise WeightsError(
                f"weights are missing: run `personalive download --weights {as_argument(self.weights)}{tiny}`, or "
                f"name another folder with --weights\n{index.report(missing)}"
            )

    def load(self) -> PersonaLive:
        """Loads the networks and adds the LoRAs. Raises WeightsError if a file, a key or a LoRA does not fit,
        InputError for a speed that cannot be had.
        """
        speed = choose_speed(self.speed, self.device)
        model = load_model(self.weights, self.device, self.precision, self.decoder, Host(), "plain")
        for lora, strength in self.loras:
            model = with_lora(model, lora, strength)
        return with_speed(model, speed, self.progress)


def weight_index(folder: Path) -> WeightIndex:
    """The weight files found in `folder`. Raises WeightsError with the download command if it is not a folder."""
    if not folder.is_dir():
        raise WeightsError(
            f"the weights folder {folder} does not exist: run `personalive download --weights {as_argument(folder)}` "
            "to fetch the weights, or name another folder with --weights"
        )
    return locate(folder, FILES)
