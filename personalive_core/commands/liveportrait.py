"""Arguments of `animate` that LivePortrait alone has, and what is built from them."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..animation.implicit_animate import ImplicitJob
from ..animation.implicit_job import SourceFace
from ..backends.liveportrait.animation import AnimationOptions
from ..backends.liveportrait.crops import SOURCE_CROP
from ..backends.liveportrait.kalman import OBSERVATION_VARIANCE, VARIANCE_RANGE
from .liveportrait_options import TRANSFER_DEFAULTS, add_transfer, liveportrait_engine_of, transfer_of
from .options import clip_of
from .readers import number, points, whole

SOURCE_LIMIT = SourceFace().limit
# By their names in the parsed arguments: the options of `animate` that one system alone has, with their defaults.
LIVEPORTRAIT_ONLY = {
    **TRANSFER_DEFAULTS,
    "pose_friendly": False,
    "close_lips": False,
    "even_eyes": False,
    "variance": OBSERVATION_VARIANCE,
    "reference_points": None,
    "reference_limit": SOURCE_LIMIT,
}


def add_liveportrait(parser: argparse.ArgumentParser) -> None:
    """Adds what `animate` has for LivePortrait alone."""
    own = parser.add_argument_group("with --system liveportrait alone")
    add_transfer(own)
    own.add_argument(
        "--pose-friendly",
        action="store_true",
        help="motion does not grow with the reference's face (animals)",
    )
    _add_openness(own)
    own.add_argument(
        "--reference-points", type=points, metavar="X,Y,...", help="landmarks in the reference, as an animal's nine"
    )
    own.add_argument(
        "--reference-limit",
        type=whole(0),
        default=SOURCE_LIMIT,
        metavar="PIXELS",
        help="longer side to which a larger reference is resized; 0: not at all (default: %(default)s)",
    )


def _add_openness(own: argparse._ArgumentGroup) -> None:
    own.add_argument("--close-lips", action="store_true", help="close the reference's lips before they are moved")
    own.add_argument(
        "--even-eyes", action="store_true", help="a reference video's eyes stay as open as in its first frame"
    )
    own.add_argument(
        "--variance",
        type=number(*VARIANCE_RANGE),
        default=OBSERVATION_VARIANCE,
        metavar="V",
        help="smooths more for a reference video (default: %(default)s)",
    )


def animation_of(a: argparse.Namespace) -> AnimationOptions:
    """The animation that the arguments ask for. Raises InputError for what animals do not have."""
    return replace(
        transfer_of(a, expression_friendly=not a.pose_friendly),
        close_lips=a.close_lips,
        even_eyes=a.even_eyes,
        variance=a.variance,
    )


def implicit_job(a: argparse.Namespace) -> ImplicitJob:
    """The job of `animate --system liveportrait`. Raises InputError for an unusable device."""
    rule = replace(SOURCE_CROP, scale=SOURCE_CROP.scale * a.crop_scale)
    return ImplicitJob(
        reference=a.reference,
        clip=replace(clip_of(a), head_alone=a.region == "pose" and not a.animal),
        output=a.output,
        engine=liveportrait_engine_of(a, a.animal),
        face=SourceFace(
            a.detector, a.reference_face, a.reference_box, a.reference_points, rule, limit=a.reference_limit
        ),
        animation=animation_of(a),
        paste=a.paste_back,
        sheet=a.sheet,
        audio=not a.no_audio,
        lossless=a.lossless,
        label=not a.no_label,
        mark=a.mark,
        codec=a.codec,
        crf=a.crf,
        quiet=a.quiet,
    )
