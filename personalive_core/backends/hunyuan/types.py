"""Values of HunyuanPortrait: what is read from a driving, a reference picture, and the options of an animation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from ...media.picture import Picture
from ...motion.types import AnyMotion, HeadPose

PORTRAIT_SIDE = 512  # pixels of the pictures that the networks were trained on
READ_SIDE = 256  # pixels of the pictures that the motion is read from
VIDEO_LATENT_SCALE = 0.18215
PER_LATENT = 8  # pixels a side of one latent
INTENSITY_GROUP = 25  # driving frames whose intensities are measured together

Square = tuple[int, int, int, int]  # left, top, right, bottom in pixels; rounding may make it one pixel from square


@dataclass(frozen=True, repr=False)
class HunyuanMotion(AnyMotion):
    """What is read from F driving frames; float32 on the CPU, 2.1 kB per frame."""

    expression: Tensor  # [F, 512]
    intensity: Tensor  # [F, 2] how strongly the head and the expression move, 0 to 127; the same for 25 frames
    pose: HeadPose  # three angles in degrees; translation 0 and scale 1, which the published program leaves out
    box: Tensor  # [F, 4] face box in the frame: left, top, right, bottom in pixels
    valid: Tensor  # [F] bool: False where no face was found


@dataclass(frozen=True, eq=False)
class HunyuanReference:
    """Everything that animation needs of a reference picture."""

    picture: Picture  # [H, W, 3]
    square: Square  # the part that is animated
    latents: Tensor  # [4, h, w] float32, the encoder's mode, not scaled
    tokens: Tensor  # [1, 64, 1024] how the person looks
    pose: Tensor  # [1, C, h, w] the pose guider's answer to a black picture, which is all it ever gets


@dataclass(frozen=True)
class WindowRule:
    """Windows of frames, joined circularly, that move from step to step.

    Raises InputError unless 0 <= overlap < size.
    """

    size: int = 25
    overlap: int = 3
    shift: int = 3  # frames that all windows move back at each step

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < self.size:
            raise InputError(f"windows of {self.size} frames cannot overlap by {self.overlap}: give fewer")


@dataclass(frozen=True)
class SegmentRule:
    """How a long film is cut: segments of `frames` that share `overlap` with the next.

    Raises InputError unless 0 < overlap <= frames / 2.
    """

    frames: int = 300
    overlap: int = 12

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= self.frames / 2:
            raise InputError(
                f"segments of {self.frames} frames cannot overlap by {self.overlap}: give at most half of them"
            )


@dataclass(frozen=True)
class Guidance:
    """Strength of a condition, which goes linearly over the steps. Raises InputError if negative or not finite."""

    first: float = 2.0
    last: float = 2.0

    def __post_init__(self) -> None:
        if not all(0 <= scale < float("inf") for scale in (self.first, self.last)):  # false for NaN, too
            raise InputError(f"guidance is 0 or more, got {self.first:g} to {self.last:g}: try 2")

    def at(self, step: int, steps: int) -> float:
        """The strength at one of `steps`."""
        return float(torch.linspace(self.first, self.last, steps)[step])


@dataclass(frozen=True)
class SamplingOptions:
    """How an animation is denoised; the defaults are the published ones. Raises InputError for less than one step."""

    steps: int = 25
    appearance: Guidance = Guidance()
    motion: Guidance = Guidance()
    windows: WindowRule = WindowRule()
    segments: SegmentRule = SegmentRule()
    padding: int = 15  # frames before and after, whose motion fades in and out
    decoded: int = 8  # frames that are decoded at once

    def __post_init__(self) -> None:
        if min(self.steps, self.decoded) < 1 or self.padding < 0:
            raise InputError(f"an animation takes at least 1 step, got {self.steps}: try 25")


@dataclass(frozen=True, eq=False)
class SegmentProgress:
    """How far a segment is; a callback may raise to stop."""

    segment: int  # counted from 0
    calls: int  # of the UNet that are done in this segment
    total: int  # calls of this segment
    clean: Tensor  # [N, 4, h, w] what the latents would be without noise after this step, for previews
