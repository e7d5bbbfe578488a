"""The report of `bench`: writes and reads it as JSON, compares two reports, and formats one as a table."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..errors import InputError
from .figures import Accuracy, Ceiling, HostStage, KernelFamily, LiveCost, LoopCost

LISTS = {
    "loops": LoopCost,
    "ceilings": Ceiling,
    "kernels": KernelFamily,
    "host": HostStage,
    "accuracy": Accuracy,
    "live": LiveCost,
}


@dataclass(frozen=True)
class StageCost:
    """Cost of one pipeline stage for one window of frames; the stage `reference` encodes one portrait."""

    name: str
    frames: int  # per call; a step emits one window
    seconds: float  # median of one call
    flops: int  # of one call: matrix products and convolutions; a multiply-add counts as two
    peak_memory: int | None  # bytes: as in `BenchReport`
    speed: str = ""  # the variant; empty in reports of one variant

    @property
    def flops_per_frame(self) -> float:
        """FLOPs per emitted frame."""
        return self.flops / self.frames


@dataclass(frozen=True)
class BenchReport:
    """The figures that `run_bench` measured, and the settings they hold for."""

    widths: tuple[int, ...]
    size: int
    precision: str
    device: str
    decoder: str  # of the stream: full or tiny
    compiled: bool
    frames: int  # of the stream
    torch: str
    parameters: int
    weight_bytes: int
    stages: tuple[StageCost, ...]
    first_frame_seconds: float  # from the portrait to the first finished picture, with networks already loaded
    fps: float  # steady state: frames go in and come out
    fps_whole: float  # of the whole stream: includes its start, which emits no frame, and its end
    peak_memory: int | None  # bytes, of the stream: held on a CUDA device, else resident; None: no figure
    speed: str = ""  # the variant of the figures above; empty in older reports
    loops: tuple[LoopCost, ...] = ()
    ceilings: tuple[Ceiling, ...] = ()
    kernels: tuple[KernelFamily, ...] = ()
    host: tuple[HostStage, ...] = ()
    accuracy: tuple[Accuracy, ...] = ()
    command: str = ""  # that made the report
    live: tuple[LiveCost, ...] = ()
    system: str = ""  # empty: PersonaLive

    @property
    def title(self) -> str:
        """The settings in one line."""
        speed = self.speed or ("compiled" if self.compiled else "plain")
        how = "" if speed == "plain" else f", {speed}"
        what, decoder = (f"{self.system}, ", "") if self.system else ("", f", {self.decoder} decoder")
        return (
            f"{what}widths {'-'.join(map(str, self.widths))}, {self.size}x{self.size}, {self.precision}, {self.device}"
            f"{decoder}{how}, {self.frames} frames, torch {self.torch}"
        )

    def to_json(self) -> str:
        """The report as JSON for `read_report`; adds FLOPs per emitted frame for other readers."""
        values = asdict(self)
        for stage, value in zip(self.stages, values["stages"], strict=True):
            value["flops_per_frame"] = stage.flops_per_frame
        return json.dumps(values, indent=1)


@dataclass(frozen=True)
class Comparison:
    """One figure of two reports; `ratio` is now / before, NaN if `before` is 0."""

    name: str
    now: float
    before: float

    @property
    def ratio(self) -> float:
        return self.now / self.before if self.before else float("nan")

    def __str__(self) -> str:
        return f"{self.name:<20} {self.now:>12.4g} {self.before:>12.4g}  x {self.ratio:.3f}"


def read_report(path: Path) -> BenchReport:
    """Reads a report that `to_json` wrote. Raises InputError if the file cannot be read or is no report."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        stages = [
            {key: value for key, value in stage.items() if key != "flops_per_frame"} for stage in values["stages"]
        ]
        values |= {"stages": tuple(StageCost(**stage) for stage in stages), "widths": tuple(values["widths"])}
        values |= {name: tuple(kind(**item) for item in values.get(name, ())) for name, kind in LISTS.items()}
        return BenchReport(**values)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path} is not a report of bench ({error}): give a file that `personalive bench` wrote"
        ) from error


def compare(report: BenchReport, other: BenchReport) -> tuple[Comparison, ...]:
    """The figures that both reports have: `report` as `now`, `other` as `before`."""
    now, before = _figures(report), _figures(other)
    return tuple(Comparison(name, now[name], before[name]) for name in now if name in before)


def _figures(report: BenchReport) -> dict[str, float]:
    figures: dict[str, float] = {}
    for stage in report.stages:
        name = stage.name if stage.speed in ("", report.speed) else f"{stage.speed} {stage.name}"
        figures[f"{name} seconds"] = stage.seconds
        figures[f"{name} FLOPs"] = stage.flops
    figures |= {"first frame seconds": report.first_frame_seconds, "FPS": report.fps, "FPS whole": report.fps_whole}
    figures |= {f"FPS {loop.name}": loop.fps for loop in report.loops}
    for session in report.live:
        figures[f"FPS {session.name}"] = session.fps
        if session.delay_p95 is not None:
            figures[f"delay p95 {session.name}"] = session.delay_p95
    figures |= {f"error {one.speed} {one.precision}": one.error for one in report.accuracy}
    if report.peak_memory is not None:
        figures["peak memory"] = report.peak_memory
    return figures
