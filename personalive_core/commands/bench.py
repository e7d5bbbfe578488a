"""The command `personalive bench`: measures time, FLOPs and memory of each stage, streams, and what limits them."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from ..backends.personalive.loader import DECODERS
from ..backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE
from ..bench.hunyuan import HunyuanOptions, run_hunyuan_bench
from ..bench.hunyuan_networks import SMALL_HUNYUAN
from ..bench.liveportrait import LivePortraitOptions, run_liveportrait_bench
from ..bench.liveportrait_networks import PUBLISHED_WIDTH, SMALL_WIDTH
from ..bench.options import KEYFRAMES, BenchOptions
from ..bench.report import BenchReport, compare, read_report
from ..bench.run import run_bench
from ..bench.tables import markdown, report_table
from ..bench.variants import VARIANTS
from ..device import pick_device, pick_precision
from ..errors import InputError
from ..live.types import MODES
from ..media.files import check_written, whole_file
from .options import add_device, add_precision, add_size, add_system, refuse_options
from .readers import whole
from .result import Result
from .systems import DEFAULT_SIZE

SMALL_WIDTHS, PUBLISHED_WIDTHS = "32,64,64,64", "320,640,1280,1280"
REPORT_SUFFIXES, MARKDOWN_SUFFIXES = (".json",), (".md",)


def widths(text: str) -> tuple[int, ...]:
    """Parses comma-separated channel counts. Raises argparse.ArgumentTypeError unless all are whole numbers from 1."""
    return tuple(whole(1)(part) for part in text.split(","))


def among(names: Iterable[str]) -> Callable[[str], tuple[str, ...]]:
    """A reader of comma-separated `names`. It raises argparse.ArgumentTypeError for any other."""
    known = tuple(names)

    def read(text: str) -> tuple[str, ...]:
        given = tuple(dict.fromkeys(text.split(",")))
        unknown = [name for name in given if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected {', '.join(known)}, with commas between, got {unknown[0]!r}")
        return given

    return read


_COUNTS = ",".join(map(str, KEYFRAMES))

# PersonaLive's own arguments, and what they are where they were not given.
_OWN: Mapping[str, object] = {
    "size": DEFAULT_SIZE,
    "decoder": ("full",),
    "keyframes": (),
    "compile": False,
    "profile": False,
    "live": (),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive bench`."""
    parser.add_argument(
        "--widths",
        type=widths,
        help=f"{SMALL_WIDTHS} or {PUBLISHED_WIDTHS} (published); LivePortrait: {SMALL_WIDTH} or {PUBLISHED_WIDTH}",
    )
    add_size(parser, DEFAULT_SIZE)
    for add in (add_device, add_precision, add_system):
        add(parser)
    parser.add_argument(
        "--decoder", type=among(DECODERS), default=("full",), help="full, tiny or full,tiny (default: full)"
    )
    parser.add_argument(
        "--speed",
        type=among(VARIANTS),
        default=(),
        help=f"{', '.join(VARIANTS)} (LivePortrait: the first two), several with commas between (default: plain)",
    )
    parser.add_argument(
        "--keyframes",
        type=among(map(str, range(KEYFRAMES[-1] + 1))),
        default=(),
        metavar="N,...",
        help=f"a steady stream with each number of keyframes (default: {_COUNTS} where speeds or decoders are several)",
    )
    parser.add_argument(
        "--live",
        type=among(MODES),
        default=(),
        help=f"also live sessions with a generated camera: {', '.join(MODES)}, or both with a comma between",
    )
    parser.add_argument("--frames", type=whole(1), default=32, help="frames of the stream (default: %(default)s)")
    parser.add_argument("--repeats", type=whole(1), default=3, help="calls of each stage (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="as --speed compiled")
    parser.add_argument(
        "--profile", action="store_true", help="also the machine's ceilings, kernels, the CPU's part, and accuracy"
    )
    _add_files(parser)


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a .json file")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables to a .md file")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="print ratios to figures saved by --json")


def options_of(a: argparse.Namespace) -> BenchOptions:
    """What the arguments ask for. Raises InputError for an unusable device, or what cannot be measured."""
    device = pick_device(a.device)
    several = len(a.speed) > 1 or len(a.decoder) > 1
    return BenchOptions(
        widths=a.widths or widths(SMALL_WIDTHS),
        size=a.size,
        precision=pick_precision(a.precision, device),
        device=device,
        decoder=a.decoder[0],
        frames=a.frames,
        repeats=a.repeats,
        compile=a.compile,
        speeds=a.speed,
        decoders=a.decoder,
        keyframes=tuple(map(int, a.keyframes)) or (KEYFRAMES if several or a.profile else ()),
        profile=a.profile,
        live=a.live,
    )


def liveportrait_options_of(a: argparse.Namespace) -> LivePortraitOptions:
    """As `options_of`, of LivePortrait."""
    refuse_options(a, (PERSONALIVE,), {name: value for name, value in _OWN.items() if name != "size"})
    refuse_options(a, (PERSONALIVE, HUNYUAN), {"size": DEFAULT_SIZE})
    if a.widths and len(a.widths) > 1:
        raise InputError(f"LivePortrait has one width, got {len(a.widths)}: give {SMALL_WIDTH} or {PUBLISHED_WIDTH}")
    device = pick_device(a.device)
    width = a.widths[0] if a.widths else SMALL_WIDTH
    precision, speeds = pick_precision(a.precision, device), a.speed or LivePortraitOptions.speeds
    return LivePortraitOptions(width, precision, device, a.frames, a.repeats, speeds)


def hunyuan_options_of(a: argparse.Namespace) -> HunyuanOptions:
    """As `options_of`, of HunyuanPortrait, whose random weights need no licence."""
    refuse_options(a, (PERSONALIVE,), {name: value for name, value in _OWN.items() if name != "size"})
    device = pick_device(a.device)
    precision = pick_precision(a.precision, device)
    return HunyuanOptions(a.widths or SMALL_HUNYUAN, a.size, precision, device, a.frames, a.repeats)


def check_same_system(a: argparse.Namespace, before: BenchReport | None) -> None:
    """Raises InputError if the figures to compare with are another system's."""
    other = None if before is None else before.system or PERSONALIVE
    if other not in (None, a.system):
        raise InputError(f"{a.compare} has figures of {other}, got --system {a.system}: compare within one system")


def measured_report(a: argparse.Namespace) -> BenchReport:
    """The report of the chosen system."""
    if a.system == LIVEPORTRAIT:
        return run_liveportrait_bench(liveportrait_options_of(a))
    return run_hunyuan_bench(hunyuan_options_of(a)) if a.system == HUNYUAN else run_bench(options_of(a))


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive bench`."""
    before = read_report(a.compare) if a.compare else None
    check_same_system(a, before)
    for path, suffixes in ((a.json, REPORT_SUFFIXES), (a.markdown, MARKDOWN_SUFFIXES)):
        if path:
            check_written(path, suffixes, {})
    command = shlex.join(["personalive", *sys.argv[1:]]) if "bench" in sys.argv else ""
    report = replace(measured_report(a), command=command)
    if a.json:
        with whole_file(a.json, REPORT_SUFFIXES) as partial:
            partial.write_text(report.to_json(), encoding="utf-8")
    if a.markdown:
        with whole_file(a.markdown, MARKDOWN_SUFFIXES) as partial:
            partial.write_text(markdown(report) + "\n", encoding="utf-8")
    rows = compare(report, before) if before else ()
    return Result("\n".join([report_table(report), *map(str, rows)]))
