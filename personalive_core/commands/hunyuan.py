"""Arguments of HunyuanPortrait alone, the switch that accepts its licence, and what is built from them."""

from __future__ import annotations

import argparse

from ..animation.hunyuan_engine import HUNYUAN_SPEEDS, HunyuanEngine
from ..animation.hunyuan_job import HunyuanJob
from ..backends.hunyuan.files import LICENCE_TERMS
from ..backends.hunyuan.types import Guidance, SamplingOptions, SegmentRule
from ..device import pick_device, pick_precision
from ..errors import InputError
from .options import clip_of
from .readers import numbers, whole
from .systems import DEFAULT_SEGMENT


def add_licence(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Adds --accept-hunyuan-licence, without which nothing of HunyuanPortrait loads."""
    parser.add_argument(
        "--accept-hunyuan-licence",
        "--accept-hunyuan-license",
        action="store_true",
        help=f"needed by --system hunyuan: you have read its licence and accept it. {LICENCE_TERMS}",
    )


def add_hunyuan(parser: argparse.ArgumentParser) -> None:
    """Adds what `animate` has for HunyuanPortrait alone."""
    own = parser.add_argument_group("with --system hunyuan alone")
    add_licence(own)
    published = Guidance()
    for name, what in (("--guidance", "the reference's look"), ("--motion-guidance", "the driving's motion")):
        own.add_argument(
            name,
            type=numbers(2),
            metavar="MIN,MAX",
            help=f"strength of {what}, from the first step to the last (default: {published.first:g},"
            f"{published.last:g}); two different ones take half as long again",
        )
    own.add_argument(
        "--segment",
        type=whole(2),
        default=DEFAULT_SEGMENT,
        metavar="FRAMES",
        help="a longer film is made in overlapping segments of so many frames: more take more memory, and the first "
        "frame is there later (default: %(default)s)",
    )


def hunyuan_engine(a: argparse.Namespace) -> HunyuanEngine:
    """Builds the engine from its arguments; loads nothing. Raises InputError for an unusable device or speed."""
    if a.speed not in HUNYUAN_SPEEDS:
        raise InputError(
            f"HunyuanPortrait runs at speed {', '.join(HUNYUAN_SPEEDS)}, got {a.speed}: choose one of these"
        )
    device = pick_device(a.device)
    precision = pick_precision(a.precision, device)
    return HunyuanEngine(a.weights, device, precision, a.accept_hunyuan_licence, a.size, a.speed)


def sampling_of(a: argparse.Namespace) -> SamplingOptions:
    """How the arguments ask to denoise. Raises InputError for what cannot be done."""
    published = SamplingOptions()
    overlap = min(published.segments.overlap, a.segment // 2)
    return SamplingOptions(
        steps=published.steps if a.steps is None else a.steps,
        appearance=Guidance(*a.guidance) if a.guidance else published.appearance,
        motion=Guidance(*a.motion_guidance) if a.motion_guidance else published.motion,
        segments=SegmentRule(a.segment, overlap),
    )


def hunyuan_job(a: argparse.Namespace) -> HunyuanJob:
    """The job of `animate --system hunyuan`. Raises InputError for an unusable device, speed or number."""
    return HunyuanJob(
        reference=a.reference,
        clip=clip_of(a),
        output=a.output,
        engine=hunyuan_engine(a),
        sampling=sampling_of(a),
        seed=a.seed,
        paste="matched" if a.paste_back else "square",
        sheet=a.sheet,
        audio=not a.no_audio,
        lossless=a.lossless,
        label=not a.no_label,
        mark=a.mark,
        codec=a.codec,
        crf=a.crf,
        quiet=a.quiet,
        reference_face=a.reference_face,
    )
