"""The command `personalive bench`: measures time, FLOPs and memory of each stage."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bench.report import compare, read_report, report_table
from ..bench.run import BenchOptions, run_bench
from ..device import pick_device, pick_precision
from ..media.files import check_written, whole_file
from .options import add_decoder, add_device, add_precision, add_size
from .readers import whole
from .result import Result

SMALL_WIDTHS, PUBLISHED_WIDTHS = "32,64,64,64", "320,640,1280,1280"
REPORT_SUFFIXES = (".json",)


def widths(text: str) -> tuple[int, ...]:
    """Parses comma-separated channel counts. Raises argparse.ArgumentTypeError unless all are whole numbers from 1."""
    return tuple(whole(1)(part) for part in text.split(","))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive bench`."""
    parser.add_argument(
        "--widths", type=widths, default=widths(SMALL_WIDTHS), help=f"{SMALL_WIDTHS} or {PUBLISHED_WIDTHS} (published)"
    )
    add_size(parser)
    add_device(parser)
    add_precision(parser)
    add_decoder(parser)
    parser.add_argument("--frames", type=whole(1), default=32, help="frames of the stream (default: %(default)s)")
    parser.add_argument("--repeats", type=whole(1), default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoising UNet, static shapes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a .json file")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="print ratios to figures saved by --json")


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive bench`."""
    before = read_report(a.compare) if a.compare else None
    device = pick_device(a.device)
    options = BenchOptions(
        widths=a.widths,
        size=a.size,
        precision=pick_precision(a.precision, device),
        device=device,
        decoder=a.decoder,
        frames=a.frames,
        repeats=a.repeats,
        compile=a.compile,
    )
    if a.json:
        check_written(a.json, REPORT_SUFFIXES, {})
    report = run_bench(options)
    if a.json:
        with whole_file(a.json, REPORT_SUFFIXES) as partial:
            partial.write_text(report.to_json(), encoding="utf-8")
    rows = compare(report, before) if before else ()
    return Result("\n".join([report_table(report), *map(str, rows)]))
