"""Arguments that LivePortrait alone has, and the options built from them."""

from __future__ import annotations

import argparse

from ..animation.live_engine import LiveEngine
from ..backends.liveportrait.animation import MULTIPLIER_RANGE, AnimationOptions
from ..backends.liveportrait.regions import FACE_REGIONS
from ..backends.liveportrait.transfer import TransferOptions
from ..device import pick_device, pick_precision
from ..errors import InputError
from .options import add_animal
from .readers import number

# What the arguments are where they were not given; another system refuses them.
LIVE_DEFAULTS = {"animal": False, "region": "all", "absolute": False, "multiplier": 1.0, "no_stitching": False}


def add_transfer(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that `transfer_of` reads."""
    group = parser.add_argument_group("LivePortrait")
    add_animal(group)
    group.add_argument(
        "--region", choices=FACE_REGIONS, default=LIVE_DEFAULTS["region"], help="what moves (default: %(default)s)"
    )
    group.add_argument(
        "--absolute", action="store_true", help="the driving's motion as it is, not its change since the first frame"
    )
    group.add_argument(
        "--multiplier",
        type=number(*MULTIPLIER_RANGE),
        default=LIVE_DEFAULTS["multiplier"],
        metavar="X",
        help="of the whole motion, 0 to 2 (default: 1)",
    )
    group.add_argument(
        "--no-stitching", action="store_true", help="shoulders are not held; animals' never are, untrained for them"
    )


def transfer_of(a: argparse.Namespace, expression_friendly: bool = True) -> AnimationOptions:
    """How motion is taken over, from arguments. Raises InputError for what animals do not have."""
    if a.animal and (a.absolute or a.region != LIVE_DEFAULTS["region"]):
        raise InputError("animals take all of a person's motion as it is: leave --region and --absolute out")
    return AnimationOptions(
        TransferOptions("absolute" if a.absolute else "relative", a.region),
        expression_friendly=expression_friendly,
        multiplier=a.multiplier,
        stitching=not (a.no_stitching or a.animal),
    )


def live_engine_of(a: argparse.Namespace) -> LiveEngine:
    """Builds the engine from arguments; loads no weights. Raises InputError for an unusable device."""
    device = pick_device(a.device)
    return LiveEngine(a.weights, device, pick_precision(a.precision, device), "animal" if a.animal else "human")
