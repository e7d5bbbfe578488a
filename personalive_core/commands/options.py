"""Arguments that several commands share, and the objects built from them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from ..animation.driving import DrivingClip
from ..animation.engine import Engine
from ..backends.personalive.loader import DECODERS
from ..backends.personalive.lora import Lora, read_lora
from ..backends.personalive.speed.choice import SPEEDS
from ..backends.personalive.speed.units import Progress
from ..backends.registry import PERSONALIVE, SYSTEMS
from ..device import PRECISIONS, pick_device, pick_precision
from ..errors import InputError
from ..faces.detectors import DETECTORS
from ..motion.gaps import MISSING_POLICIES
from .readers import box, face_choice, frame_rate, number, picture_size, whole

DEFAULT_WEIGHTS = Path("pretrained_weights")


def add_system(parser: argparse.ArgumentParser, systems: Sequence[str] = SYSTEMS) -> None:
    """Adds --system."""
    parser.add_argument(
        "--system", choices=systems, default=PERSONALIVE, help="what animates the portrait (default: %(default)s)"
    )


def add_weights(parser: argparse.ArgumentParser) -> None:
    """Adds --weights."""
    parser.add_argument(
        "--weights", type=Path, default=DEFAULT_WEIGHTS, metavar="DIR", help="weights folder (default: ./%(default)s)"
    )


def add_animal(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --animal."""
    parser.add_argument("--animal", action="store_true", help="LivePortrait's networks for animals")


def refuse_options(a: argparse.Namespace, owners: Sequence[str], defaults: Mapping[str, object]) -> None:
    """Raises InputError for an option that only the systems `owners` have: one of `defaults`, by their names in `a`."""
    for name, default in defaults.items():
        if a.system not in owners and getattr(a, name) != default:
            option = name.replace("_", "-")
            raise InputError(
                f"--{option} belongs to {' and '.join(owners)}, got --system {a.system}: leave it out, or use "
                f"{' or '.join(owners)}"
            )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds --device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu (default: %(default)s)")


def add_precision(parser: argparse.ArgumentParser) -> None:
    """Adds --precision."""
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", *PRECISIONS],
        help="auto: the fastest that the device computes in natively (default: %(default)s)",
    )


def add_decoder(parser: argparse.ArgumentParser) -> None:
    """Adds --decoder."""
    parser.add_argument(
        "--decoder",
        default="full",
        choices=[*DECODERS],
        help="tiny: 18 times less work, slightly softer (default: full)",
    )


def add_speed(parser: argparse.ArgumentParser, default: str = "auto") -> None:
    """Adds --speed."""
    parser.add_argument(
        "--speed",
        default=default,
        choices=SPEEDS,
        help="auto: compiled on CUDA, else plain; the first run compiles, for up to a minute; fp8 and rtx are "
        "PersonaLive's alone, but hunyuan's fp8 stores its UNet in 8 bits (default: %(default)s)",
    )


def add_size(parser: argparse.ArgumentParser, default: int = 512) -> None:
    """Adds --size."""
    parser.add_argument(
        "--size", type=picture_size, default=default, help="pixels a side, a multiple of 64 (default: %(default)s)"
    )


def add_reporting(parser: argparse.ArgumentParser) -> None:
    """Adds --json and --quiet."""
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON, alone on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `engine_of` reads (weights, device, precision, decoder, size, speed), --json, --quiet."""
    add_weights(parser)
    add_device(parser)
    add_precision(parser)
    add_decoder(parser)
    add_size(parser)
    add_speed(parser)
    add_reporting(parser)


def add_loras(parser: argparse.ArgumentParser) -> None:
    """Adds --lora and --lora-strength."""
    parser.add_argument(
        "--lora", type=Path, action="append", default=[], metavar="FILE", help="LoRA to add; repeat it for more"
    )
    parser.add_argument(
        "--lora-strength", type=number(-10, 10), action="append", metavar="X", help="one for each LoRA (default: 1)"
    )


def add_detector(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --detector."""
    parser.add_argument(
        "--detector", default="auto", choices=DETECTORS, help="auto: none for square pictures, else yunet"
    )


def add_clip(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `clip_of` reads, except --driving: the driving's faces and its time range."""
    faces = parser.add_argument_group("faces of the driving")
    add_detector(faces)
    faces.add_argument(
        "--face",
        type=face_choice,
        default="largest",
        help="the driving's: largest, left, or a number from the left, 0 first (default: largest)",
    )
    faces.add_argument(
        "--driving-box", type=box, metavar="L,T,R,B", help="square of the driving to use in every frame, in pixels"
    )
    faces.add_argument(
        "--missing-face", default="hold", choices=MISSING_POLICIES, help="how frames without a face are filled"
    )
    faces.add_argument(
        "--smooth",
        type=number(0.01, 1000),
        metavar="HZ",
        help="smooth pose and box with this cutoff; 2 is a good start",
    )
    span = parser.add_argument_group("which part of the driving")
    span.add_argument("--start", type=number(0), default=0.0, metavar="SECONDS", help="leave out what is earlier")
    span.add_argument("--frames", type=whole(1), help="at most this many frames")
    span.add_argument(
        "--rate", type=frame_rate, help="resample to this many frames per second (default: the driving's own)"
    )


def engine_of(a: argparse.Namespace, loras: tuple[tuple[Lora, float], ...] = ()) -> Engine:
    """Builds the Engine from arguments; loads no weights. Raises InputError for an unusable device."""
    device = pick_device(a.device)
    precision, progress = pick_precision(a.precision, device), None if a.quiet else compile_bar()
    return Engine(a.weights, device, precision, a.decoder, a.size, loras, a.speed, progress)


def compile_bar() -> Progress:
    """A progress bar on standard error, from the first block kind that is compiled to the last."""
    bars: list[tqdm[None]] = []

    def progress(done: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, desc="compile", unit=" blocks", leave=False))
        bars[0].total = total
        bars[0].update(done - bars[0].n)
        if done == total:
            bars.pop().close()

    return progress


def loras_of(a: argparse.Namespace) -> tuple[tuple[Lora, float], ...]:
    """Reads each LoRA and pairs it with its strength. Raises InputError unless each has one, or none has."""
    strengths = a.lora_strength or [1.0] * len(a.lora)
    if len(strengths) != len(a.lora):
        raise InputError(
            f"--lora was given {len(a.lora)} times and --lora-strength {len(strengths)} times: give one strength for "
            "each LoRA, in their order, or none"
        )
    return tuple((read_lora(path), strength) for path, strength in zip(a.lora, strengths, strict=True))


def clip_of(a: argparse.Namespace) -> DrivingClip:
    """Builds the DrivingClip from arguments."""
    return DrivingClip(
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
