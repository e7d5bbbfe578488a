"""Arguments of LivePortrait alone, and what is built from them; options of one system are refused by the other."""

from __future__ import annotations

import argparse
from dataclasses import replace

from ..animation.implicit_animate import ImplicitJob
from ..animation.implicit_job import ImplicitEngine, SourceFace
from ..backends.liveportrait.animation import MULTIPLIER_RANGE, AnimationOptions
from ..backends.liveportrait.crops import SOURCE_CROP
from ..backends.liveportrait.kalman import OBSERVATION_VARIANCE, VARIANCE_RANGE
from ..backends.liveportrait.regions import FACE_REGIONS
from ..backends.liveportrait.transfer import TransferOptions
from ..backends.personalive.motion import Strengths
from ..backends.registry import LIVEPORTRAIT, PERSONALIVE
from ..device import pick_device, pick_precision
from .options import add_animal, clip_of, refuse_options
from .readers import number, points, whole

SOURCE_LIMIT = SourceFace().limit
# By their names in the parsed arguments: the options of `animate` that one system alone has, with their defaults.
LIVEPORTRAIT_ONLY = {
    "region": "all",
    "absolute": False,
    "pose_friendly": False,
    "multiplier": 1.0,
    "no_stitching": False,
    "eyes": False,
    "lips": False,
    "close_lips": False,
    "even_eyes": False,
    "variance": OBSERVATION_VARIANCE,
    "animal": False,
    "reference_points": None,
    "reference_limit": SOURCE_LIMIT,
}
ENGINE_ONLY = {"decoder": "full", "size": 512, "speed": "auto"}
PERSONALIVE_ONLY = {
    **ENGINE_ONLY,
    "lora": [],
    "lora_strength": None,
    "steps": 4,
    "seed": 0,
    **vars(Strengths()),
    "reference_crop": None,
    "feather": 0.1,
}


def add_liveportrait(parser: argparse.ArgumentParser) -> None:
    """Adds what `animate` has for LivePortrait alone."""
    own = parser.add_argument_group("with --system liveportrait alone")
    own.add_argument("--region", choices=FACE_REGIONS, default="all", help="what the driving moves (default: all)")
    own.add_argument("--absolute", action="store_true", help="as the driving is, not by its change since frame 0")
    own.add_argument(
        "--pose-friendly",
        action="store_true",
        help="motion does not grow with the reference's face (animals)",
    )
    own.add_argument(
        "--multiplier",
        "--driving-multiplier",
        type=number(*MULTIPLIER_RANGE),
        default=1.0,
        metavar="X",
        help="of the whole motion, 0 to 2 (default: 1)",
    )
    own.add_argument("--no-stitching", action="store_true", help="do not join the face to its shoulders")
    own.add_argument("--eyes", action="store_true", help="eyes as open as the driving's; needs landmark.onnx")
    own.add_argument("--lips", action="store_true", help="lips as open as the driving's; needs landmark.onnx")
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
    add_animal(own)
    own.add_argument(
        "--reference-points",
        type=points,
        metavar="X,Y,...",
        help="landmarks in the reference, as an animal's nine",
    )
    own.add_argument(
        "--reference-limit",
        type=whole(0),
        default=SOURCE_LIMIT,
        metavar="PIXELS",
        help="longer side to which a larger reference is resized; 0: not at all (default: %(default)s)",
    )


def refuse_others(a: argparse.Namespace) -> None:
    """Raises InputError for an option of `animate` that the chosen system does not have."""
    refuse_options(a, LIVEPORTRAIT, LIVEPORTRAIT_ONLY)
    refuse_options(a, PERSONALIVE, PERSONALIVE_ONLY)


def implicit_engine(a: argparse.Namespace, animal: bool = False) -> ImplicitEngine:
    """Builds the engine from --weights, --device and --precision. Raises InputError for an unusable device."""
    refuse_options(a, PERSONALIVE, ENGINE_ONLY)
    device = pick_device(a.device)
    return ImplicitEngine(a.weights, device, pick_precision(a.precision, device), "animal" if animal else "human")


def animation_of(a: argparse.Namespace) -> AnimationOptions:
    """The animation that the arguments ask for; animals are not stitched, as the network has not learnt them."""
    return AnimationOptions(
        TransferOptions("absolute" if a.absolute else "relative", a.region),
        expression_friendly=not a.pose_friendly,
        multiplier=a.multiplier,
        stitching=not (a.no_stitching or a.animal),
        eyes=a.eyes,
        lips=a.lips,
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
        engine=implicit_engine(a, a.animal),
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
