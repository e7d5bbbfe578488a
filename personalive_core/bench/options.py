"""What `bench` is asked to measure."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..backends.personalive.loader import DECODERS
from ..backends.personalive.reference import check_size
from ..backends.personalive.types import STREAM
from ..errors import InputError
from ..live.types import MODES
from ..modules.unet import UNetConfig
from .standin import WIDTHS
from .variants import VARIANTS

FEWEST_FRAMES = (STREAM.windows + 1) * STREAM.window  # two windows must come out while frames still go in
MOST_KEYFRAMES = STREAM.max_keyframes - 1  # besides the reference
KEYFRAMES = (0, MOST_KEYFRAMES)


@dataclass(frozen=True)
class BenchOptions:
    """What is measured. If a model is given, its own widths, precision and device are used instead.

    Raises InputError for widths, a size, a decoder, a speed or numbers that cannot be measured.
    """

    widths: tuple[int, ...] = WIDTHS
    size: int = 512  # pixels a side of the picture
    precision: torch.dtype = torch.float32
    device: torch.device = torch.device("cpu")
    decoder: str = "full"  # of the stream; the stages measure both
    frames: int = 32  # driving frames of each stream
    repeats: int = 3
    compile: bool = False  # as speeds = ("compiled",)
    speeds: tuple[str, ...] = ()  # names of `VARIANTS`, measured beside one another; none: plain
    decoders: tuple[str, ...] = ()  # of the loops; none: that of the stream
    keyframes: tuple[int, ...] = ()  # numbers of keyframes besides the reference, a loop for each; none: no loops
    profile: bool = False  # also ceilings, kernels, the host's part, accuracy
    live: tuple[str, ...] = ()  # modes of live sessions, each measured with each variant and decoder
    live_seconds: float = 10.0  # of each session's steady state

    def __post_init__(self) -> None:
        groups = UNetConfig.groups
        if not self.widths or any(width < 1 or width % groups for width in self.widths):
            given = ", ".join(map(str, self.widths)) or "none"
            raise InputError(f"widths must be multiples of {groups} such as 32, 64, 64, 64, got {given}")
        check_size(self.size)
        for name, known in (
            *((d, DECODERS) for d in (self.decoder, *self.decoders)),
            *((s, VARIANTS) for s in self.speeds),
        ):
            if name not in known:
                what = "decoder" if known is DECODERS else "speed"
                raise InputError(f"unknown {what} {name!r}: use {' or '.join(known)}")
        if any(not 0 <= count <= MOST_KEYFRAMES for count in self.keyframes):
            raise InputError(f"a stream has 0 to {MOST_KEYFRAMES} keyframes, got {self.keyframes}: choose among these")
        if any(mode not in MODES for mode in self.live) or self.live_seconds <= 0:
            raise InputError(
                f"live is measured in {' and '.join(MODES)} for some seconds, got {', '.join(self.live)} for "
                f"{self.live_seconds:g}: choose among these"
            )
        if self.frames < FEWEST_FRAMES or self.repeats < 1:
            raise InputError(
                f"a stream of at least {FEWEST_FRAMES} frames and 1 repeat can be measured, got {self.frames} and "
                f"{self.repeats}: raise them"
            )

    @property
    def measured_speeds(self) -> tuple[str, ...]:
        """The variants to measure, the first of which the report is about."""
        return self.speeds or (("compiled",) if self.compile else ("plain",))

    @property
    def loops(self) -> tuple[tuple[str, int], ...]:
        """(decoder, keyframes) of each loop of a variant."""
        return tuple((decoder, count) for decoder in self.decoders or (self.decoder,) for count in self.keyframes)
