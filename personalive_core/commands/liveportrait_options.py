"""Arguments that LivePortrait alone has, and the options built from them."""

from __future__ import annotations

import argparse

from ..animation.liveportrait_engine import LivePortraitEngine
from ..backends.liveportrait.animation import MULTIPLIER_RANGE, AnimationOptions
from ..backends.liveportrait.kj_modes import KJ_MODES
from ..backends.liveportrait.regions import FACE_REGIONS
from ..backends.liveportrait.speed import choose_live_speed
from ..backends.liveportrait.transfer import TransferOptions
from ..device import pick_device, pick_precision
from ..errors import InputError
from .options import add_animal
from .readers import number

# What the arguments are where they were not given; another system refuses them.
TRANSFER_DEFAULTS = {
    "animal": False,
    "region": "all",
    "absolute": False,
    "multiplier": 1.0,
    "no_stitching": False,
    "kj_mode": None,
    "eyes": False,
    "lips": False,
}


def add_transfer(group: argparse._ArgumentGroup) -> None:
    """Adds the arguments that `transfer_of` reads, and --animal."""
    add_animal(group)
    group.add_argument("--region", choices=FACE_REGIONS, default="all", help="what the driving moves (default: all)")
    group.add_argument("--absolute", action="store_true", help="as the driving is, not by its change since frame 0")
    group.add_argument(
        "--multiplier",
        "--driving-multiplier",
        type=number(*MULTIPLIER_RANGE),
        default=TRANSFER_DEFAULTS["multiplier"],
        metavar="X",
        help="of the whole motion, 0 to 2 (default: 1)",
    )
    group.add_argument(
        "--no-stitching",
        action="store_true",
        help="do not join the face to its shoulders; animals never are, the network has not learnt them",
    )
    group.add_argument(
        "--kj-mode",
        choices=KJ_MODES,
        help="move as ComfyUI-LivePortraitKJ's mode of that name does, in place of --region and --absolute",
    )
    group.add_argument("--eyes", action="store_true", help="eyes as open as the driving's; needs landmark.onnx")
    group.add_argument("--lips", action="store_true", help="lips as open as the driving's; needs landmark.onnx")


def transfer_of(a: argparse.Namespace, expression_friendly: bool = True) -> AnimationOptions:
    """How motion is taken over, from arguments. Raises InputError for what animals do not have."""
    if a.animal and (a.absolute or a.region != TRANSFER_DEFAULTS["region"] or a.kj_mode):
        raise InputError("animals take all of a person's motion as it is: leave --region, --absolute and --kj-mode out")
    if a.animal and (a.eyes or a.lips):
        raise InputError("the openness of an animal's eyes and lips is not known: leave --eyes and --lips out")
    return AnimationOptions(
        TransferOptions("absolute" if a.absolute else "relative", a.region),
        expression_friendly=expression_friendly,
        multiplier=a.multiplier,
        stitching=not (a.no_stitching or a.animal),
        eyes=a.eyes,
        lips=a.lips,
        kj=a.kj_mode,
    )


def liveportrait_engine_of(a: argparse.Namespace, animal: bool = False) -> LivePortraitEngine:
    """Builds the engine from --weights, --device, --precision and --speed.

    Raises InputError for an unusable device, or a speed that LivePortrait does not have.
    """
    device, speed = pick_device(a.device), getattr(a, "speed", "auto")
    choose_live_speed(speed, device)
    precision, subject = pick_precision(a.precision, device), "animal" if animal else "human"
    return LivePortraitEngine(a.weights, device, precision, subject, speed)
