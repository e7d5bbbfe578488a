"""What travels along the wires between the nodes: frozen values, never changed after they were made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import torch
from comfy_api.v0_0_2 import io

from ...personalive_core.backends.personalive.model import PersonaLive
from ...personalive_core.backends.personalive.types import Reference, StreamConfig
from ...personalive_core.errors import InputError
from ...personalive_core.faces.crop import Crop
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.types import FittedMotion, HybridMotion

CATEGORY = "PersonaLive"
TICKS = 90000  # a second; what MPEG counts in

ModelSocket = io.Custom("PERSONALIVE_MODEL")
ReferenceSocket = io.Custom("REFERENCE")
MotionSocket = io.Custom("HYBRID_MOTION")
BankSocket = io.Custom("KEYFRAME_BANK")


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """PERSONALIVE_MODEL."""

    networks: PersonaLive
    weights: Path  # the folder they are from: face detectors lie there too

    def __repr__(self) -> str:
        return f"{self.networks} from {self.weights.name}"


@dataclass(frozen=True, eq=False)
class PreparedReference:
    """REFERENCE."""

    reference: Reference  # on the CPU: a cached output must not hold memory of the GPU
    whole: Picture  # [H, W, 3] the picture it was cut from
    crop: Crop  # the square of it that is animated
    portrait: Picture  # [S, S, 3] that square as the networks see it
    weights: Path  # of the model that read it

    def __repr__(self) -> str:
        return f"{self.reference} from a {self.whole.shape[1]}x{self.whole.shape[0]} picture"


@dataclass(frozen=True)
class Footage:
    """The driving's file: for its sound, and to be played beside the result."""

    path: Path
    start: Fraction  # seconds since its first frame at which the motion begins
    pictures: bool = True  # False: only its sound is in a file


@dataclass(frozen=True, eq=False)
class Motion:
    """HYBRID_MOTION: as extracted, or fitted to a reference."""

    frames: HybridMotion  # of the driving; when fitted, what it was before
    rate: Fraction  # frames a second
    footage: Footage | None = None
    fitted: FittedMotion | None = None
    canonical: torch.Tensor | None = None  # [21, 3] of the reference it was fitted to
    ticks: torch.Tensor | None = None  # [F] int64, when each frame is shown in units of 1 / TICKS s; None: evenly

    def __len__(self) -> int:
        return len(self.frames)

    def time(self, index: int) -> Fraction:
        """When frame `index` is shown, in seconds: phones film at varying rates, and the sound must still fit."""
        if self.ticks is None or len(self.ticks) != len(self):
            return index / self.rate
        return Fraction(int(self.ticks[index]), TICKS)

    def __repr__(self) -> str:
        return f"{len(self)} frames at {float(self.rate):g} frames/s{', fitted' if self.fitted else ''}"


@dataclass(frozen=True, eq=False)
class Bank:
    """KEYFRAME_BANK: how keyframes are chosen, and those that are there from the start."""

    threshold: float = StreamConfig.keyframe_distance
    maximum: int = StreamConfig.max_keyframes - 1  # historical ones, besides the reference and the fixed ones
    warm_up: int = StreamConfig.keyframe_warmup  # chunks
    portraits: tuple[Picture, ...] = ()  # square pictures: fixed keyframes
    numbers: tuple[int | None, ...] = ()  # the driving frames the portraits were made for; None: brought by the user
    detector: str = "auto"  # cuts faces out of portraits that are not square

    def __repr__(self) -> str:
        return f"threshold {self.threshold:g}, at most {self.maximum} keyframes, {len(self.portraits)} fixed"


def stream_config(bank: Bank, steps: int = len(StreamConfig.timesteps)) -> StreamConfig:
    """The sampler's settings with a bank's. Raises InputError for a number of steps that does not divide."""
    return replace(
        StreamConfig.of(steps),
        keyframe_distance=bank.threshold,
        keyframe_warmup=bank.warm_up,
        max_keyframes=1 + len(bank.portraits) + bank.maximum,
    )


def to_picture(image: torch.Tensor) -> Picture:
    """One picture of an IMAGE [H, W, C] in [0, 1] -> [H, W, 3] uint8, grey repeated, alpha over black."""
    if image.shape[-1] in (2, 4):  # the last channel is alpha
        image = image[..., :-1] * image[..., -1:]
    levels = (image.float().clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    return levels.expand(*levels.shape[:2], 3).contiguous().numpy()


def only_picture(image: torch.Tensor, node: str) -> Picture:
    """The one picture of an IMAGE [1, H, W, C]. Raises InputError for a batch of another size."""
    if len(image) != 1:
        raise InputError(f"{node} got {len(image)} pictures: give it one, for example with ImageFromBatch")
    return to_picture(image[0])


def to_image(pictures: Sequence[Picture]) -> torch.Tensor:
    """Pictures [H, W, 3] uint8 of one size -> IMAGE [B, H, W, 3] float32 in [0, 1]."""
    return torch.stack([torch.from_numpy(picture.copy()).float() / 255 for picture in pictures])
