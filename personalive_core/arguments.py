"""The command line's arguments: one parser, and the values they stand for."""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

from .face import Box
from .loader import DECODERS, PRECISIONS
from .motion import MISSING_POLICIES

DEFAULT_WEIGHTS = Path("pretrained_weights")
SMALL, PUBLISHED = "32,64,64,64", "320,640,1280,1280"


def box(text: str) -> Box:
    """LEFT,TOP,RIGHT,BOTTOM in pixels."""
    numbers = [float(part) for part in text.split(",")]
    return Box(*numbers) if len(numbers) == 4 else _refuse("expected LEFT,TOP,RIGHT,BOTTOM")  # noqa: PLR2004


def widths(text: str) -> tuple[int, ...]:
    """Four channel counts with commas between them."""
    return tuple(int(part) for part in text.split(","))


def _refuse(message: str) -> Box:
    raise argparse.ArgumentTypeError(message)


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {number}")
    return number


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(prog="personalive", description="A portrait, alive with a driving video's motion.")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _animate(commands.add_parser("animate", help="a reference portrait and a driving video to a video"))
    _demo(commands.add_parser("demo", help="the bundled sample through every stage, without a download"))
    _motion(commands.add_parser("motion", help="a driving video to a small, reusable motion file"))
    _weights(commands)
    _bench(commands.add_parser("bench", help="time, FLOPs and memory of each stage"))
    _check(commands.add_parser("check", help="whether trained weights do what they should, figure by figure"))
    return parser


def _run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS, help="weights folder (default: %(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps, xpu (default: %(default)s)")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--decoder", default="full", choices=[*DECODERS], help="tiny: 18 times less work, softer")
    parser.add_argument("--size", type=positive, default=512, help="pixels a side, a multiple of 64 (default: 512)")
    parser.add_argument("--json", action="store_true", help="one line of JSON with the result on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def _face_options(parser: argparse.ArgumentParser) -> None:
    faces = parser.add_argument_group("faces")
    detectors = ["auto", "none", "yunet", "haar", "insightface"]
    faces.add_argument("--detector", default="auto", choices=detectors, help="auto: none if square, else yunet")
    faces.add_argument("--face", default="largest", help="largest, left, or a number from the left, 0 first")
    faces.add_argument("--driving-box", type=box, metavar="L,T,R,B", help="the driving's crop, in pixels")
    faces.add_argument("--missing-face", default="hold", choices=MISSING_POLICIES, help="frames without a face")
    faces.add_argument("--smooth", type=float, metavar="HZ", help="One-Euro smoothing of pose and box, such as 2")
    span = parser.add_argument_group("which part of the driving")
    span.add_argument("--start", type=float, default=0.0, help="seconds")
    span.add_argument("--frames", type=positive, help="at most so many")
    span.add_argument("--rate", type=Fraction, help="resample to so many frames a second (default: as it is)")


def _stream_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--steps", type=positive, default=4, help="denoising steps, a multiple of 4 (default: 4)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sheet", type=Path, help="contact sheet to look at: .png or .jpg")
    strengths = parser.add_argument_group("strength of the driving motion")
    for name, default in (("rotation", 1.0), ("translation", 0.5), ("scale", 0.0), ("expression", 1.0)):
        strengths.add_argument(f"--{name}", type=float, default=default, help="default: %(default)s")


def _animate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reference", type=Path, required=True, help="portrait: a picture, or a video's first frame")
    parser.add_argument("--driving", type=Path, required=True, help="video, folder of pictures, or motion file")
    parser.add_argument("--output", type=Path, required=True, help=".mp4, .mov or .mkv")
    _run_options(parser)
    _stream_options(parser)
    _face_options(parser)
    parser.add_argument("--reference-box", type=box, metavar="L,T,R,B", help="the reference's crop, in pixels")
    result = parser.add_argument_group("result")
    result.add_argument("--paste-back", action="store_true", help="into the full-size reference picture")
    result.add_argument("--feather", type=float, default=0.1, help="paste-back's soft border, part of the crop's side")
    result.add_argument("--no-audio", action="store_true", help="leave the driving's sound out")
    result.add_argument("--lossless", action="store_true")
    result.add_argument("--no-label", action="store_true", help="do not say in the metadata that it is generated")
    result.add_argument("--mark", action="store_true", help="a small visible mark that says so")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=Path, default=Path("output/demo.mp4"))
    parser.add_argument("--sheet", type=Path, default=Path("output/demo.png"))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--size", type=positive, default=256)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quiet", action="store_true")


def _motion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--driving", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help=".safetensors")
    _run_options(parser)
    _face_options(parser)


def _weights(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    download = commands.add_parser("download", help="fetch the weights that are missing")
    download.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    download.add_argument("--decoder", default="full", choices=[*DECODERS])
    download.add_argument("--detector", action="store_true", help="also YuNet, for faces in wide frames")
    download.add_argument("--endpoint", help="mirror of the hub (default: HF_ENDPOINT)")
    download.add_argument("--offline", action="store_true", help="no network: only say what is missing")
    download.add_argument("--quiet", action="store_true")
    convert = commands.add_parser("convert", help=".pth and .bin to one safetensors file a network")
    convert.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    convert.add_argument("--output", type=Path, help="another folder (default: beside the originals)")
    convert.add_argument("--precision", default="fp16", choices=[*PRECISIONS])
    info = commands.add_parser("info", help="weights found and missing, licences, memory")
    info.add_argument("--weights", type=Path, default=DEFAULT_WEIGHTS)
    info.add_argument("--verify", action="store_true", help="hash every downloaded file again")
    info.add_argument("--json", action="store_true")


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--widths", type=widths, default=widths(SMALL), help=f"{SMALL} or {PUBLISHED} (published)")
    parser.add_argument("--size", type=positive, default=512)
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--decoder", default="full", choices=[*DECODERS])
    parser.add_argument("--frames", type=positive, default=16)
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--compile", action="store_true", help="torch.compile the denoising UNet, static shapes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="ratios to figures written before")


def _check(parser: argparse.ArgumentParser) -> None:
    _run_options(parser)
    parser.add_argument("--reference", type=Path, help="a square portrait of yours (default: a drawn one)")
    parser.add_argument("--driving", type=Path, help="a square driving video of yours (default: a drawn one)")
    parser.add_argument("--sheet", type=Path, default=Path("output/check.png"))
