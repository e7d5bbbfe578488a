"""Socket types of the nodes and the frozen values they carry, and conversion between IMAGE and Picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import torch
from comfy.model_patcher import ModelPatcher
from comfy_api.v0_0_2 import io

from ...personalive_core.backends.hunyuan.model import HunyuanPortrait
from ...personalive_core.backends.liveportrait.model import LivePortrait
from ...personalive_core.backends.personalive.model import PersonaLive
from ...personalive_core.backends.personalive.types import Reference, StreamConfig
from ...personalive_core.backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE
from ...personalive_core.errors import InputError
from ...personalive_core.faces.crop import Crop
from ...personalive_core.media.picture import Picture
from ...personalive_core.motion.times import duration_at, time_at
from ...personalive_core.motion.types import AnyMotion, FittedMotion
from .memory import patchers_of

ModelSocket = io.Custom("PERSONALIVE_MODEL")
ReferenceSocket = io.Custom("PERSONALIVE_REFERENCE")
MotionSocket = io.Custom("PERSONALIVE_MOTION")
BankSocket = io.Custom("PERSONALIVE_KEYFRAME_BANK")
SourceSocket = io.Custom("PERSONALIVE_SOURCE")  # a SourcePortrait
LivePortraitSocket = io.Custom("PERSONALIVE_LIVEPORTRAIT")
HunyuanSocket = io.Custom("PERSONALIVE_HUNYUAN")
ExpressionSocket = io.Custom("PERSONALIVE_EXPRESSION")  # an Expression of backends/liveportrait


class Cached:
    """What ComfyUI looks for in the outputs it caches, to tell models from the rest; of an object with `networks`."""

    networks: PersonaLive | LivePortrait | HunyuanPortrait
    system: ClassVar[str]

    @property
    def patcher(self) -> ModelPatcher | None:
        """That of the largest network: with one, ComfyUI drops an unused model first when memory (RAM) is short."""
        return max(self.get_models(), key=lambda patcher: patcher.model_size(), default=None)

    def get_models(self) -> tuple[ModelPatcher, ...]:
        """The networks' patchers; ComfyUI notes which of them a running workflow uses."""
        return patchers_of(self.networks)

    def is_dynamic(self) -> bool:
        """Whether the networks are under dynamic VRAM: ComfyUI then never drops the model of a running workflow."""
        models = self.get_models()
        return bool(models) and all(hasattr(model, "is_dynamic") and model.is_dynamic() for model in models)


@dataclass(frozen=True, eq=False)
class LoadedModel(Cached):
    """PERSONALIVE_MODEL: the loaded networks."""

    networks: PersonaLive
    weights: Path  # the weights folder they were loaded from; it also holds the face detector
    system: ClassVar[str] = PERSONALIVE

    def __repr__(self) -> str:
        return f"{self.networks} from {self.weights.name}"


@dataclass(frozen=True, eq=False)
class LoadedLivePortrait(Cached):
    """PERSONALIVE_LIVEPORTRAIT: LivePortrait's loaded networks."""

    networks: LivePortrait
    weights: Path  # the weights folder they were loaded from
    subject: str  # whom they animate, of SUBJECTS
    system: ClassVar[str] = LIVEPORTRAIT

    def __repr__(self) -> str:
        return f"{self.networks} for {self.subject} faces from {self.weights.name}"


@dataclass(frozen=True, eq=False)
class LoadedHunyuan(Cached):
    """PERSONALIVE_HUNYUAN: HunyuanPortrait's loaded networks."""

    networks: HunyuanPortrait
    weights: Path  # the weights folder they were loaded from
    system: ClassVar[str] = HUNYUAN

    def __repr__(self) -> str:
        return f"{self.networks} from {self.weights.name}"


@dataclass(frozen=True, eq=False)
class PreparedReference:
    """PERSONALIVE_REFERENCE: the encoded portrait, and the picture it was cut from."""

    reference: Reference  # on the CPU: an output that ComfyUI caches must not hold GPU memory
    whole: Picture  # [H, W, 3] the full picture
    crop: Crop  # the square of `whole` that is animated
    portrait: Picture  # [S, S, 3] that square, resized for the networks
    weights: Path  # weights folder of the model that encoded it

    def __repr__(self) -> str:
        return f"{self.reference} from a {self.whole.shape[1]}x{self.whole.shape[0]} picture"


@dataclass(frozen=True)
class Footage:
    """The driving's file: the source of the sound, and the video that the compare player shows."""

    path: Path
    start: Fraction  # where the motion begins, in seconds since the first frame of the file
    pictures: bool = True  # False: the file holds the sound only


@dataclass(frozen=True, eq=False)
class Motion:
    """PERSONALIVE_MOTION: driving motion, as extracted or also fitted to a reference."""

    frames: AnyMotion  # the driving's motion, of either system; stays unfitted when `fitted` is set
    rate: Fraction  # frames per second
    footage: Footage | None = None
    fitted: FittedMotion | None = None
    canonical: torch.Tensor | None = None  # [21, 3] canonical keypoints of the reference it was fitted to
    ticks: torch.Tensor | None = None  # [F + 1] int64 times in nanoseconds, see motion/times.py; None: evenly spaced

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def times(self) -> torch.Tensor | None:
        """Times [F + 1] of the frames; None: evenly spaced, also where another pack changed the frames alone."""
        return self.ticks if self.ticks is not None and len(self.ticks) == len(self) + 1 else None

    def time(self, index: int) -> Fraction:
        """Time of frame `index` in seconds. Phones film at varying rates; exact times keep the sound in sync."""
        return index / self.rate if self.times is None else time_at(self.times, index)

    def duration(self, index: int) -> Fraction:
        """Seconds from frame `index` to the next one, or to the end of the last."""
        return 1 / self.rate if self.times is None else duration_at(self.times, index)

    def __repr__(self) -> str:
        return f"{len(self)} frames at {float(self.rate):g} frames/s{', fitted' if self.fitted else ''}"


@dataclass(frozen=True, eq=False)
class Bank:
    """PERSONALIVE_KEYFRAME_BANK: how historical keyframes are chosen, and the fixed ones, there from the start."""

    threshold: float = StreamConfig.keyframe_distance  # L2 distance in embedding space
    maximum: int = StreamConfig.max_keyframes - 1  # historical keyframes; the reference and fixed ones are not counted
    warm_up: int = StreamConfig.keyframe_warmup  # chunks before the first historical keyframe may join
    portraits: tuple[Picture, ...] = ()  # pictures of the fixed keyframes
    numbers: tuple[int | None, ...] = ()  # driving frame of each portrait; None: given by the user
    detector: str = "auto"  # finds the face in portraits that the user gave

    def __repr__(self) -> str:
        return f"threshold {self.threshold:g}, at most {self.maximum} keyframes, {len(self.portraits)} fixed"


def stream_config(bank: Bank, steps: int = len(StreamConfig.timesteps)) -> StreamConfig:
    """The sampler's settings for a bank. Raises InputError unless `steps` is a multiple of the windows in flight."""
    return replace(
        StreamConfig.of(steps),
        keyframe_distance=bank.threshold,
        keyframe_warmup=bank.warm_up,
        max_keyframes=1 + len(bank.portraits) + bank.maximum,
    )


def to_picture(image: torch.Tensor) -> Picture:
    """One picture [H, W, C] of an IMAGE in [0, 1] -> [H, W, 3] uint8; grey is repeated, alpha is put over black."""
    image = image.float()  # newer ComfyUI may hand on float16
    if image.shape[-1] in (2, 4):  # the last channel is alpha
        image = image[..., :-1] * image[..., -1:]
    levels = (image.clamp(0, 1) * 255).round().to("cpu", torch.uint8)
    return levels.expand(*levels.shape[:2], 3).contiguous().numpy()


def only_picture(image: torch.Tensor, node: str) -> Picture:
    """The only picture of an IMAGE [1, H, W, C] -> [H, W, 3] uint8. Raises InputError for another batch size."""
    if len(image) != 1:
        raise InputError(f"{node} got {len(image)} pictures: give it one, for example with ImageFromBatch")
    return to_picture(image[0])


def to_image(pictures: Sequence[Picture]) -> torch.Tensor:
    """Pictures [H, W, 3] uint8 of one size -> IMAGE [B, H, W, 3] float32 in [0, 1]."""
    return torch.stack([torch.from_numpy(picture.copy()).float() / 255 for picture in pictures])
