"""The command line's arguments: one parser, and the checks that need nothing but the value itself."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import NoReturn, TypeVar

from . import __version__
from .backends.personalive.loader import DECODERS
from .backends.personalive.reference import check_size
from .backends.personalive.types import StreamConfig
from .device import PRECISIONS
from .errors import InputError
from .faces.crop import Box, choose_face
from .faces.detectors import DETECTORS
from .motion.gaps import MISSING_POLICIES

DEFAULT_WEIGHTS = Path("pretrained_weights")
SMALL, PUBLISHED = "32,64,64,64", "320,640,1280,1280"
LARGEST_SIZE = 2048  # pixels a side, four times the size of training: beyond, only memory is spent
FASTEST = 240  # frames a second
BOX_SIDES = 4

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """argparse, with its errors as the one line that every other error is."""

    def error(self, message: str) -> NoReturn:
        """Raises InputError with argparse's `message`."""
        raise InputError(f"{message}: `{self.prog} --help` says what is possible")


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """What reads a finite number from `low` to `high`."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (low <= value <= high and math.isfinite(value)):
            limits = f"{low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
            raise argparse.ArgumentTypeError(f"expected a number {limits}, got {text!r}")
        return value

    return read


def whole(low: int, high: float = math.inf) -> Callable[[str], int]:
    """What reads a whole number from `low` to `high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from error
        return round(number(low, high)(str(value)))

    return read


def picture_size(text: str) -> int:
    """Pixels a side that the networks can draw."""
    size = whole(1, LARGEST_SIZE)(text)
    return _or_refuse(lambda: check_size(size))


def step_count(text: str) -> int:
    """Denoising steps that divide into the windows in flight."""
    steps = whole(1)(text)
    _or_refuse(lambda: StreamConfig.of(steps))
    return steps


def frame_rate(text: str) -> Fraction:
    """Frames a second: 25, 29.97 or 30000/1001."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= FASTEST:
        raise argparse.ArgumentTypeError(f"expected frames a second, above 0 and up to {FASTEST}, got {text!r}")
    return rate


def face_choice(text: str) -> str:
    """One of the choices of `choose_face`."""
    _or_refuse(lambda: choose_face((), text, None))
    return text


def box(text: str) -> Box:
    """LEFT,TOP,RIGHT,BOTTOM in pixels."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != BOX_SIDES or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"expected LEFT,TOP,RIGHT,BOTTOM in pixels, got {text!r}")
    return _or_refuse(lambda: Box(*numbers))


def widths(text: str) -> tuple[int, ...]:
    """Channel counts with commas between them."""
    return tuple(whole(1)(part) for part in text.split(","))


def _or_refuse(make: Callable[[], T]) -> T:
    """What `make` gives; its error as argparse's, which puts the option's name before it."""
    try:
        return make()
    except (InputError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    from .evaluate_command import add_arguments as _evaluate
    from .submit_command import add_arguments as _submit
    from .train_command import add_arguments as _train

    parser = Parser(prog="personalive", description="A portrait, alive with a driving video's motion.")
    parser.add_argument("--version", action="version", version=f"personalive {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
        command.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return command

    _animate(add("animate", "a reference portrait and a driving video to a video"))
    _demo(add("demo", "the bundled sample through every stage, without a download"))
    _motion(add("motion", "a driving video to a small, reusable motion file"))
    _download(add("download", "fetch the weights that are missing"))
    _convert(add("convert", ".pth and .bin weights to one safetensors file a network"))
    _info(add("info", "weights found and missing, where they were looked for, licences, memory"))
    _bench(add("bench", "time, FLOPs and memory of each stage, on random weights"))
    _check(add("check", "whether trained weights do what they should, figure by figure"))
    _train(add("train", "the paper's recipe: stage by stage, on clips of your own or on drawn people"))
    _evaluate(add("evaluate", "how near a model comes to the true pictures, on drawn people that it has never seen"))
    _submit(add("submit", "every portrait with every driving video, on running ComfyUI servers"))
    return parser


def _weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--weights", type=Path, default=DEFAULT_WEIGHTS, metavar="DIR", help="weights folder (default: ./%(default)s)"
    )


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu (default: %(default)s)")
    parser.add_argument(
        "--precision",
        default="auto",
        choices=["auto", *PRECISIONS],
        help="auto: the fastest that the device computes in natively (default: %(default)s)",
    )


def _decoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--decoder", default="full", choices=[*DECODERS], help="tiny: 18 times less work, softer (default: full)"
    )


def _engine(parser: argparse.ArgumentParser) -> None:
    _weights(parser)
    _device(parser)
    _decoder(parser)
    parser.add_argument(
        "--size", type=picture_size, default=512, help="pixels a side, a multiple of 64 (default: %(default)s)"
    )
    _reporting(parser)


def _loras(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--lora", type=Path, action="append", default=[], metavar="FILE", help="LoRA to add; repeat it for more"
    )
    parser.add_argument(
        "--lora-strength", type=number(-10, 10), action="append", metavar="X", help="one for each LoRA (default: 1)"
    )


def _reporting(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON, alone on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _clip(parser: argparse.ArgumentParser) -> None:
    faces = parser.add_argument_group("faces of the driving")
    faces.add_argument(
        "--detector", default="auto", choices=DETECTORS, help="auto: none for square pictures, else yunet"
    )
    faces.add_argument(
        "--face", type=face_choice, default="largest", help="largest, left, or a number from the left, 0 first"
    )
    faces.add_argument("--driving-box", type=box, metavar="L,T,R,B", help="the driving's crop in pixels, by hand")
    faces.add_argument(
        "--missing-face", default="hold", choices=MISSING_POLICIES, help="how frames without a face are filled"
    )
    faces.add_argument("--smooth", type=number(0.01, 1000), metavar="HZ", help="steady pose and box; 2 is a good start")
    span = parser.add_argument_group("which part of the driving")
    span.add_argument("--start", type=number(0), default=0.0, metavar="SECONDS")
    span.add_argument("--frames", type=whole(1), help="at most so many")
    span.add_argument("--rate", type=frame_rate, help="resample to so many frames a second (default: as it is)")


def _animate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reference", type=Path, required=True, help="portrait: a picture, or a video's first frame")
    parser.add_argument("--driving", type=Path, required=True, help="video, folder of pictures, or motion file")
    parser.add_argument("--output", type=Path, required=True, help=".mp4, .mov or .mkv")
    _engine(parser)
    _loras(parser)
    parser.add_argument("--steps", type=step_count, default=4, help="denoising steps, a multiple of 4 (default: 4)")
    parser.add_argument("--seed", type=whole(0), default=0, help="the same seed gives the same video (default: 0)")
    by_hand = parser.add_mutually_exclusive_group()
    by_hand.add_argument(
        "--reference-box", type=box, metavar="L,T,R,B", help="the face's box in the reference, in pixels, by hand"
    )
    by_hand.add_argument(
        "--reference-crop", type=box, metavar="L,T,R,B", help="the square of the reference itself, in pixels, by hand"
    )
    strengths = parser.add_argument_group("strength of the driving motion")
    for name, default in (("rotation", 1.0), ("translation", 0.5), ("scale", 0.0), ("expression", 1.0)):
        strengths.add_argument(f"--{name}", type=number(0, 3), default=default, help="0 to 3 (default: %(default)s)")
    _clip(parser)
    _result(parser.add_argument_group("result"))


def _result(result: argparse._ArgumentGroup) -> None:
    result.add_argument("--sheet", type=Path, help="contact sheet to look at: .png or .jpg")
    result.add_argument("--paste-back", action="store_true", help="into the full-size reference picture")
    result.add_argument(
        "--feather", type=number(0, 0.5), default=0.1, help="paste-back's soft border, part of the crop (default: 0.1)"
    )
    result.add_argument("--no-audio", action="store_true", help="leave the driving's sound out")
    result.add_argument("--lossless", action="store_true", help="for further work; few players show it")
    result.add_argument("--no-label", action="store_true", help="do not say in the metadata that it is generated")
    result.add_argument("--mark", action="store_true", help="a small visible mark that says so")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=Path("output/demo.mp4"))
    parser.add_argument("--sheet", type=Path, default=Path("output/demo.png"))
    parser.add_argument("--seconds", type=number(0.04, 60), default=4.0, help="of the drawn film (default: 4)")
    parser.add_argument("--device", default="auto")
    _loras(parser)
    _reporting(parser)


def _motion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--driving", type=Path, required=True, help="video or folder of pictures")
    parser.add_argument("--output", type=Path, required=True, help=".safetensors")
    _engine(parser)
    _clip(parser)


def _download(parser: argparse.ArgumentParser) -> None:
    _weights(parser)
    _decoder(parser)
    parser.add_argument("--detector", action="store_true", help="also YuNet, for faces in wide frames")
    parser.add_argument("--endpoint", help="mirror of the hub (default: HF_ENDPOINT)")
    parser.add_argument("--offline", action="store_true", help="no network: only say what is missing")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _convert(parser: argparse.ArgumentParser) -> None:
    _weights(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="another folder (default: beside the originals)")
    parser.add_argument("--precision", default="fp16", choices=[*PRECISIONS], help="default: %(default)s")


def _info(parser: argparse.ArgumentParser) -> None:
    _weights(parser)
    parser.add_argument("--verify", action="store_true", help="hash every downloaded file again")
    parser.add_argument("--json", action="store_true", help="the same as one line of JSON")


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--widths", type=widths, default=widths(SMALL), help=f"{SMALL} or {PUBLISHED} (published)")
    parser.add_argument("--size", type=picture_size, default=512)
    _device(parser)
    _decoder(parser)
    parser.add_argument("--frames", type=whole(1), default=32, help="of the stream (default: %(default)s)")
    parser.add_argument("--repeats", type=whole(1), default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoising UNet, static shapes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures: .json")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="ratios to figures written before")


def _check(parser: argparse.ArgumentParser) -> None:
    _engine(parser)
    _loras(parser)
    parser.add_argument("--reference", type=Path, help="a square portrait of yours (default: a drawn one)")
    parser.add_argument("--driving", type=Path, help="a square driving video of yours (default: a drawn one)")
    parser.add_argument("--sheet", type=Path, default=Path("output/check.png"), help="default: %(default)s")
