"""A report's further figures: loops, live sessions, ceilings, kernels, host stages, accuracy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class LoopCost:
    """A steady stream, frames in and pictures out, with a fixed number of keyframes."""

    speed: str
    decoder: str
    keyframes: int  # besides the reference
    fps: float
    ready_seconds: float  # from the first driving frame to the first picture of the first stream: compiling included
    first_frame_seconds: float  # the same of the second stream
    busy: float | None  # share of the steady time in which the GPU works; None: no figure for this device
    waits: float | None  # calls per window in which the host waits for the GPU
    peak_memory: int | None  # bytes: as in `BenchReport`

    @property
    def name(self) -> str:
        """Which loop this is."""
        return f"{self.speed}, {self.decoder} decoder, {self.keyframes} keyframes"


@dataclass(frozen=True)
class LiveCost:
    """A live session in its steady state, with a generated camera of 25 frames a second."""

    speed: str
    decoder: str
    mode: str  # quality or quick
    fps: float  # encoded result frames a second
    step_p50: float | None  # seconds of a step; None: there was none
    step_p95: float | None
    delay_p50: float | None  # seconds from capture to the encoded result frame; None: there was none
    delay_p95: float | None
    peak_memory: int | None  # bytes: as in `BenchReport`

    @property
    def name(self) -> str:
        """Which session this is."""
        return f"live {self.mode}, {self.speed}, {self.decoder} decoder"


@dataclass(frozen=True)
class Ceiling:
    """What this machine reaches in one kind of work of the networks' own sizes."""

    name: str
    rate: float  # FLOP/s, or bytes read and written per second
    unit: str  # FLOP/s or B/s


@dataclass(frozen=True)
class KernelFamily:
    """The kernels of one kind in one denoising step; on a CPU torch's operations."""

    speed: str
    family: str
    seconds: float
    launches: int


@dataclass(frozen=True)
class HostStage:
    """Work of the CPU for one window of frames."""

    name: str
    seconds: float | None  # None: what it needs is not installed


@dataclass(frozen=True)
class Accuracy:
    """Error of one step's output on stand-in weights: RMS over the standard deviation of the plain float32 output."""

    speed: str
    precision: str
    error: float
