"""Each command that runs networks: its arguments to the values that the work takes, the outcome to a `Result`."""

from __future__ import annotations

import argparse
import math
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from .animate.driving import Clip
from .animate.engine import Engine
from .animate.job import SHEET_SUFFIXES, Job, Summary, extract, run
from .animate.portrait import read_portrait
from .backends.personalive.files import SHIPPED
from .backends.personalive.lora import Lora, read_lora
from .backends.personalive.motion import Strengths
from .device import pick_device, pick_precision
from .errors import InputError
from .faces.crop import Picture
from .faces.paste import PasteOptions
from .media.files import check_written, whole_file
from .media.picture import write_image
from .media.video import read_frames
from .text import plural

DEMO_SIZE = 128  # pixels a side, the small model's
CHECK_FRAMES = 30  # a second or so into a driving video of the user's own, the face has moved


@dataclass(frozen=True)
class Result:
    """What a command gives: words for people, values for programs (JSON types), the exit code."""

    text: str
    values: object = None
    code: int = 0


Command = Callable[[argparse.Namespace], Result]


def animate(a: argparse.Namespace) -> Result:
    """`personalive animate`: a portrait and a driving to a video."""
    return _made(
        Job(
            reference=a.reference,
            clip=_clip(a),
            output=a.output,
            engine=_engine(a, _loras(a)),
            reference_box=a.reference_box,
            reference_crop=a.reference_crop,
            steps=a.steps,
            seed=a.seed,
            strengths=Strengths(a.rotation, a.translation, a.scale, a.expression),
            paste=PasteOptions(feather=a.feather) if a.paste_back else None,
            sheet=a.sheet,
            audio=not a.no_audio,
            lossless=a.lossless,
            label=not a.no_label,
            mark=a.mark,
            quiet=a.quiet,
        )
    )


def demo(a: argparse.Namespace) -> Result:
    """`personalive demo`: the drawn sample through the small model that ships."""
    from .drawn.sample import write_sample

    sys.stderr.write(
        "demo: the small model, which comes with PersonaLive, has learned drawn people alone, at "
        f"{DEMO_SIZE}x{DEMO_SIZE} pixels. For photographs run `personalive download`, then `personalive animate`.\n"
    )
    reference, driving = write_sample(a.output.parent / "demo-files", a.seconds, DEMO_SIZE)
    device = pick_device(a.device)
    engine = Engine(SHIPPED["small"], device, torch.float32, size=DEMO_SIZE, loras=_loras(a))
    return _made(Job(reference, Clip(driving), a.output, engine, sheet=a.sheet, quiet=a.quiet))


def motion(a: argparse.Namespace) -> Result:
    """`personalive motion`: a driving video to a motion file."""
    whole = extract(_clip(a), _engine(a), a.output, a.quiet)
    valid = int(whole.valid.sum())
    return Result(
        f"{a.output}: {plural(len(whole), 'frame')}, {valid} with a face",
        {"output": str(a.output), "frames": len(whole), "filled": len(whole) - valid},
    )


def bench(a: argparse.Namespace) -> Result:
    """`personalive bench`: what each stage costs."""
    from .bench.run import BenchOptions, compare, read_report, run_bench, table

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
        check_written(a.json, (".json",), {})
    report = run_bench(options)
    if a.json:
        with whole_file(a.json, (".json",)) as partial:
            partial.write_text(report.to_json(), encoding="utf-8")
    rows = compare(report, before) if before else ()
    return Result("\n".join([table(report), *map(str, rows)]))


def check(a: argparse.Namespace) -> Result:
    """`personalive check`: what can be told of trained weights."""
    from .drawn.sample import SITTER, FaceMotion, draw_portrait
    from .evaluation.check import run_check, table

    engine = _engine(a, _loras(a))
    engine.require()
    read = {"reference": a.reference, "driving": a.driving}
    check_written(a.sheet, SHEET_SUFFIXES, {name: path for name, path in read.items() if path})
    portrait = read_portrait(a.reference) if a.reference else draw_portrait(SITTER, FaceMotion(), a.size)
    report = run_check(engine.load(), portrait, _other_pose(a), a.size)
    write_image(a.sheet, report.sheet)
    text = f"{table(report.findings)}\n{a.sheet}: look at it"
    findings = [
        {key: value if not isinstance(value, float) or math.isfinite(value) else None for key, value in row.items()}
        for row in ({**asdict(finding), "good": finding.good} for finding in report.findings)
    ]
    return Result(text, {"good": report.good, "sheet": str(a.sheet), "findings": findings}, 0 if report.good else 1)


def _other_pose(a: argparse.Namespace) -> Picture:
    from .drawn.sample import DRIVER, RATE, draw_portrait, driving_motion

    if not a.driving:
        return draw_portrait(DRIVER, driving_motion(20, RATE), a.size)
    return deque(read_frames(a.driving, count=CHECK_FRAMES), maxlen=1)[0].image


def _engine(a: argparse.Namespace, loras: tuple[tuple[Lora, float], ...] = ()) -> Engine:
    device = pick_device(a.device)
    return Engine(a.weights, device, pick_precision(a.precision, device), a.decoder, a.size, loras)


def _loras(a: argparse.Namespace) -> tuple[tuple[Lora, float], ...]:
    strengths = a.lora_strength or [1.0] * len(a.lora)
    if len(strengths) != len(a.lora):
        raise InputError(
            f"--lora was given {len(a.lora)} times and --lora-strength {len(strengths)} times: give one strength for "
            "each LoRA, in their order, or none"
        )
    return tuple((read_lora(path), strength) for path, strength in zip(a.lora, strengths, strict=True))


def _clip(a: argparse.Namespace) -> Clip:
    return Clip(
        path=a.driving,
        start=a.start,
        count=a.frames,
        rate=a.rate,
        missing=a.missing_face,
        smooth=a.smooth,
        detector=a.detector,
        choice=a.face,
        box=a.driving_box,
    )


def _made(job: Job) -> Result:
    summary = run(job)
    return Result(_sentence(summary), asdict(summary))


def _sentence(made: Summary) -> str:
    keyframes = plural(len(made.keyframes), "keyframe")
    sheet = f"\n{made.sheet}: contact sheet" if made.sheet else ""
    return (
        f"{made.output}: {plural(made.frames, 'frame')} of {made.size[0]}x{made.size[1]} in "
        f"{made.seconds.animation:.1f} s ({made.fps:.2f} a second, the first after {made.seconds.first_frame:.1f} s), "
        f"{keyframes}, {made.filled} without a face{sheet}"
    )
