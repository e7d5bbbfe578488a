"""The command line: each command's few lines, one-line errors and exit codes."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch

from .animation import MOTION_SUFFIX, Faces, Job, motion_options, run
from .arguments import build_parser
from .errors import InputError, PersonaLiveError
from .loader import DECODERS, PRECISIONS, load_model, pick_device, pick_precision
from .motion import Strengths
from .paste import PasteOptions
from .picture import write_image

INTERRUPTED = 130  # what shells expect after Ctrl-C
OUT_OF_MEMORY = 7


def say(line: str) -> None:
    """A line for people, on standard error."""
    sys.stderr.write(line + "\n")


def answer(line: str) -> None:
    """A line of result, on standard output."""
    sys.stdout.write(line + "\n")


def _job(a: argparse.Namespace) -> Job:
    device = pick_device(a.device)
    return Job(
        reference=a.reference,
        driving=a.driving,
        output=a.output,
        weights=a.weights,
        device=device,
        precision=pick_precision(a.precision, device),
        decoder=a.decoder,
        size=a.size,
        steps=a.steps,
        seed=a.seed,
        start=a.start,
        count=a.frames,
        rate=a.rate,
        missing=a.missing_face,
        smooth=a.smooth,
        faces=Faces(a.detector, a.face, a.reference_box, a.driving_box),
        strengths=Strengths(a.rotation, a.translation, a.scale, a.expression),
        paste=PasteOptions(feather=a.feather) if a.paste_back else None,
        sheet=a.sheet,
        audio=not a.no_audio,
        lossless=a.lossless,
        label=not a.no_label,
        mark=a.mark,
        quiet=a.quiet,
    )


def _report(job: Job, as_json: bool) -> int:
    summary = run(job)
    say(
        f"{summary.output}: {summary.frames} frames in {summary.seconds:.1f} s ({summary.rate:.2f} a second, the first "
        f"after {summary.first_frame_seconds:.1f} s), {len(summary.keyframes)} keyframes, {summary.filled} frames "
        "without a face"
    )
    if as_json:
        answer(json.dumps({**asdict(summary), "fps": summary.rate, "sheet": str(job.sheet) if job.sheet else None}))
    return 0


def animate(a: argparse.Namespace) -> int:
    """`personalive animate`"""
    return _report(_job(a), a.json)


def demo(a: argparse.Namespace) -> int:
    """`personalive demo`"""
    from .sample import write_sample
    from .standin import write_standin

    say(
        "demo: no trained weights are used. The networks are small and random, so the pictures are noise; "
        "every stage that makes them is real."
    )
    folder = a.output.parent / "demo-files"
    reference, driving = write_sample(folder, a.seconds, a.size)
    weights = write_standin(folder / "pretrained_weights")
    job = Job(reference, driving, a.output, weights, pick_device(a.device), torch.float32)
    from dataclasses import replace

    return _report(replace(job, size=a.size, sheet=a.sheet, quiet=a.quiet), a.json)


def motion(a: argparse.Namespace) -> int:
    """`personalive motion`"""
    from tqdm import tqdm

    from .pipeline import driving_motion
    from .storage import SUFFIXES, save_motion
    from .types import concat
    from .video import probe, read_frames

    if a.output.suffix.lower() not in SUFFIXES:
        raise InputError(f"a motion file ends with {MOTION_SUFFIX}, got {a.output.name}: rename the output")
    if a.missing_face == "neutral":
        raise InputError("neutral needs a reference: extract with hold, interpolate or error")
    job = _job(argparse.Namespace(**{**_ANIMATE_DEFAULTS, **vars(a)}))
    model = load_model(a.weights, job.device, job.precision, "full")
    rate = job.rate or probe(a.driving).rate
    frames = read_frames(a.driving, job.start, job.count, job.rate)
    first = next(frames, None)
    if first is None:
        raise InputError(f"{a.driving.name} has no frame at {job.start:g} s: start earlier")
    options = motion_options(job, first.image, rate)
    images = (frame.image for source in ([first], frames) for frame in source)
    parts = list(driving_motion(model, tqdm(images, unit="frame", disable=a.quiet, desc="motion"), options))
    whole = concat(parts)
    save_motion(a.output, whole, {"rate": str(rate), "driving": a.driving.name})
    say(f"{a.output}: {len(whole)} frames, {int(whole.valid.sum())} with a face")
    if a.json:
        answer(json.dumps({"output": str(a.output), "frames": len(whole), "valid": int(whole.valid.sum())}))
    return 0


_ANIMATE_DEFAULTS = {
    "reference": Path(),
    "reference_box": None,
    "steps": 4,
    "seed": 0,
    "sheet": None,
    "rotation": 1.0,
    "translation": 0.5,
    "scale": 0.0,
    "expression": 1.0,
    "paste_back": False,
    "feather": 0.1,
    "no_audio": True,
    "lossless": False,
    "no_label": False,
    "mark": False,
}


def download(a: argparse.Namespace) -> int:
    """`personalive download`"""
    from tqdm import tqdm

    from .download import download as fetch
    from .weights import WeightFile, locate

    a.weights.mkdir(parents=True, exist_ok=True)
    wanted = [*DECODERS[a.decoder], *(["yunet"] if a.detector else [])]
    files = locate(a.weights).missing(wanted)
    bars: dict[str, tqdm] = {}

    def progress(file: WeightFile, done: int, total: int) -> None:
        bar = bars.get(file.place) or bars.setdefault(
            file.place, tqdm(total=total, unit="B", unit_scale=True, desc=file.place, disable=a.quiet)
        )
        bar.update(done - bar.n)

    fetch(a.weights, files, endpoint=a.endpoint, offline=a.offline or None, progress=progress)
    say(f"{a.weights}: {len(files)} files fetched, nothing is missing")
    return 0


def convert(a: argparse.Namespace) -> int:
    """`personalive convert`"""
    from .convert import convert as to_safetensors

    for path in to_safetensors(a.weights, a.output, PRECISIONS[a.precision]):
        say(str(path))
    return 0


def info(a: argparse.Namespace) -> int:
    """`personalive info`"""
    from .lockfile import verify
    from .weights import describe, locate

    rows = describe(locate(a.weights))
    checked = verify(a.weights) if a.verify else ()
    if a.json:
        answer(json.dumps([asdict(row) for row in rows]))
        return 0
    for row in rows:
        state = f"{row.size / 2**20:8.1f} MiB {row.dtype}" if row.found else "missing"
        answer(f"{row.network:16} {state:24} {row.file}  [{row.licence}]")
    answer(f"memory in half precision: about {_half_precision_mib(rows):.0f} MiB for the weights found")
    if a.verify:
        answer(f"verified: {len(checked)} downloaded files have the hub's hashes")
    return 0


def _half_precision_mib(rows: Sequence[object]) -> float:
    networks = ("yunet", "base_unet")
    total = 0.0
    for row in rows:
        network, size, dtype = (getattr(row, name) for name in ("network", "size", "dtype"))
        if network not in networks:
            total += size / (2 if "float32" in dtype else 1)
    return total / 2**20


def bench(a: argparse.Namespace) -> int:
    """`personalive bench`"""
    from .bench import BenchOptions, compare, read_report, run_bench, table

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
    report = run_bench(options)
    answer(table(report))
    if a.json:
        a.json.write_text(report.to_json(), encoding="utf-8")
    if a.compare:
        for row in compare(report, read_report(a.compare)):
            answer(str(row))
    return 0


def check(a: argparse.Namespace) -> int:
    """`personalive check`"""
    from .animation import read_portrait
    from .check import run_check, table
    from .sample import DRIVER, SITTER, FaceMotion, draw_portrait, driving_motion
    from .video import read_frames

    device = pick_device(a.device)
    model = load_model(a.weights, device, pick_precision(a.precision, device), a.decoder)
    say("strict load: every key of every network is there and fits")
    portrait = read_portrait(a.reference) if a.reference else draw_portrait(SITTER, FaceMotion(), a.size)
    if a.driving:
        driving = list(islice(read_frames(a.driving), 30))[-1].image
    else:
        driving = draw_portrait(DRIVER, driving_motion(20, 25.0), a.size)
    report = run_check(model, portrait, driving, a.size)
    table(report.findings, answer)
    write_image(a.sheet, report.sheet)
    say(f"{a.sheet}: look at it")
    if a.json:
        answer(json.dumps([{**asdict(finding), "good": finding.good} for finding in report.findings]))
    return 0 if report.good else 1


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "animate": animate,
    "demo": demo,
    "motion": motion,
    "download": download,
    "convert": convert,
    "info": info,
    "bench": bench,
    "check": check,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit code."""
    a = build_parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return COMMANDS[a.command](a)
    except KeyboardInterrupt:
        say("interrupted: the frames finished so far are in the .partial file beside the output")
        return INTERRUPTED
    except PersonaLiveError as error:
        return _fail(a.debug, str(error), error.exit_code)
    except torch.OutOfMemoryError:
        return _fail(a.debug, "out of memory: try --decoder tiny, --precision fp16 or a smaller --size", OUT_OF_MEMORY)


def _fail(debug: bool, message: str, code: int) -> int:
    if debug:
        traceback.print_exc()
    say(f"personalive: {message}")
    return code
