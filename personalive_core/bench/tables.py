"""A report of `bench` as text for a terminal, and as tables in markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..backends.registry import LIVEPORTRAIT
from ..device import MIB
from .liveportrait_networks import PUBLISHED_WIDTH
from .report import BenchReport, StageCost

TERA, GIGA, MILLI = 1e12, 1e9, 1e-3
UNKNOWN = "?"
# LivePortrait's published inference times, of the paper's 12.8 ms and of stitching: one frame at a time.
PAPER_MS = {"appearance": 0.8, "motion": 0.8, "warping": 5.2, "decoder": 7.6, "stitching": 0.3}


def report_table(report: BenchReport) -> str:
    """The report as a text table."""
    lines = [
        report.title,
        f"{report.parameters / 1e6:.1f} M parameters, {report.weight_bytes / MIB:.0f} MiB of weights",
        "",
        f"{'stage':<12} {'ms':>10} {'TFLOP':>8} {'TFLOP/frame':>12} {'TFLOP/s':>8} {'peak MiB':>9}",
        *(_stage_line(stage, report.speed) for stage in report.stages),
        "",
        f"first frame {report.first_frame_seconds:.2f} s, {report.fps:.2f} FPS ({report.fps_whole:.2f} with start and "
        f"end of {report.frames} frames), peak memory {_mebibytes(report.peak_memory)} MiB",
    ]
    for title, heads, rows in _sections(report):
        lines += ["", f"{title}:", *_aligned([heads, *rows])]
    return "\n".join(lines)


def markdown(report: BenchReport) -> str:
    """The report's settings, command and loops as markdown, with a table for each further part."""
    made = f"Made by `{report.command}`." if report.command else ""
    lines = [f"**{report.device}**: {report.title}", *(["", made] if made else [])]
    for title, heads, rows in _sections(report):
        lines += ["", f"{title[0].upper()}{title[1:]}:", ""]
        lines += [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]
    return "\n".join(lines)


Section = tuple[str, Sequence[str], list[Sequence[str]]]  # title, heads, rows


def _sections(report: BenchReport) -> Iterable[Section]:
    """The parts of a report that were measured."""
    parts: list[Section] = [
        _papers_section(report),
        _loops_section(report),
        _live_section(report),
        (
            "kernels of one step",
            ("speed", "kind", "ms", "number"),
            [(k.speed, k.family, f"{k.seconds / MILLI:.2f}", str(k.launches)) for k in report.kernels],
        ),
        ("host, for one window", ("stage", "ms"), [(one.name, _milliseconds(one.seconds)) for one in report.host]),
        ("ceilings", ("work", "rate"), [(one.name, _rate(one.rate, one.unit)) for one in report.ceilings]),
        (
            "error of one step on stand-in weights, RMS over the standard deviation",
            ("speed", "precision", "error"),
            [(one.speed, one.precision, f"{one.error:.1e}") for one in report.accuracy],
        ),
    ]
    return [part for part in parts if part[2]]


def _loops_section(report: BenchReport) -> Section:
    """LivePortrait has one decoder and no keyframes, and its GPU's part is not measured."""
    heads = ("speed", "decoder", "keyframes", "FPS", "GPU works", "waits", "ready s", "first frame s", "peak MiB")
    rows = [
        (
            loop.speed,
            loop.decoder,
            str(loop.keyframes),
            f"{loop.fps:.2f}",
            _percent(loop.busy),
            UNKNOWN if loop.waits is None else f"{loop.waits:.1f}",
            f"{loop.ready_seconds:.2f}",
            f"{loop.first_frame_seconds:.2f}",
            _mebibytes(loop.peak_memory),
        )
        for loop in report.loops
    ]
    shown = (0, 3, 6, 7, 8) if report.system == LIVEPORTRAIT else range(len(heads))
    chosen: list[Sequence[str]] = [[row[i] for i in shown] for row in rows]
    return "streams, frames in to pictures out", [heads[i] for i in shown], chosen


def _papers_section(report: BenchReport) -> Section:
    return (
        "networks beside the paper's, which were compiled and ran on an RTX 4090",
        ("network", "ms", "paper ms"),
        [
            (stage.name, f"{stage.seconds / MILLI:.2f}", f"{PAPER_MS[stage.name]:.1f}")
            for stage in report.stages
            if is_papers(report) and stage.name in PAPER_MS
        ],
    )


def _live_section(report: BenchReport) -> Section:
    return (
        "live, a camera of 25 frames a second to encoded result frames",
        ("speed", "decoder", "mode", "FPS", "step p50 ms", "p95", "delay p50 ms", "p95", "peak MiB"),
        [
            (
                session.speed,
                session.decoder,
                session.mode,
                f"{session.fps:.2f}",
                *map(_known, (session.step_p50, session.step_p95, session.delay_p50, session.delay_p95)),
                _mebibytes(session.peak_memory),
            )
            for session in report.live
        ],
    )


def is_papers(report: BenchReport) -> bool:
    """Whether the report is of the networks that LivePortrait's paper timed, on a GPU as there."""
    published = report.widths == (PUBLISHED_WIDTH,)
    return report.system == LIVEPORTRAIT and published and not report.device.startswith("cpu")


def _aligned(rows: list[Sequence[str]]) -> list[str]:
    """Columns of equal width: the first to the left, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        texts = (
            text.rjust(width) if i else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join(texts).rstrip())
    return lines


def _stage_line(stage: StageCost, speed: str) -> str:
    name = stage.name if stage.speed in ("", speed) else f"{stage.name} {stage.speed}"
    flops, rate = stage.flops / TERA, stage.flops / stage.seconds / TERA
    return (
        f"{name:<12} {stage.seconds / MILLI:>10.2f} {flops:>8.3f} {stage.flops_per_frame / TERA:>12.4f} "
        f"{rate:>8.2f} {_mebibytes(stage.peak_memory):>9}"
    )


def _mebibytes(size: int | None) -> str:
    return UNKNOWN if size is None else f"{size / MIB:.0f}"


def _known(seconds: float | None) -> str:
    return UNKNOWN if seconds is None else f"{seconds / MILLI:.0f}"


def _percent(share: float | None) -> str:
    return UNKNOWN if share is None else f"{100 * share:.0f} %"


def _milliseconds(seconds: float | None) -> str:
    return "needs PyAV" if seconds is None else f"{seconds / MILLI:.2f}"


def _rate(rate: float, unit: str) -> str:
    scale, prefix = (TERA, "T") if rate >= TERA else (GIGA, "G")
    return f"{rate / scale:.3g} {prefix}{unit}"
