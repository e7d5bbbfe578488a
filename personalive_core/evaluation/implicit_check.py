"""Measures LivePortrait's trained weights for `personalive check`."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..animation.sheet import SheetRow, contact_sheet
from ..backends.liveportrait.animation import AnimationOptions
from ..backends.liveportrait.driving import driving_picture
from ..backends.liveportrait.finding import FoundFace
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.motion import read_implicit, unit_pictures
from ..backends.liveportrait.portrait import SourcePortrait, prepare_source
from ..backends.liveportrait.stream import RenderOptions, animate_portrait
from ..backends.liveportrait.types import ImplicitMotion
from ..media.picture import Picture
from ..metrics.pictures import psnr, unit
from .check import CheckReport, Finding, finite_networks, level

_MIDDLE = slice(128, 384)  # of a crop: the face, which stitching does not hold to the source


def check_implicit(
    model: LivePortrait, portrait: Picture, driving: Picture, found: FoundFace | None = None
) -> CheckReport:
    """Checks loaded weights on a portrait [H, W, 3] and a driving frame of another pose, whose square is the face.

    `found` is the portrait's face; None: its largest square. Raises NumericalError for NaN or black pictures.
    """
    source = prepare_source(model, portrait, found)
    own = source.source.motion
    other = read_implicit(model, unit_pictures([driving_picture(driving, None)]))
    still = _drawn(model, source, [own, own], AnimationOptions(multiplier=0.0, stitching=False))
    itself = _drawn(model, source, [own, own], AnimationOptions())
    moved = _drawn(model, source, [own, other], AnimationOptions())
    inside = float((own.keypoints[0, :, :2].abs() < 1).all(-1).float().mean())
    findings = (
        finite_networks(model.networks),
        Finding("keypoints in the picture", inside, 1.0, 1.0, "the crop holds them"),
        Finding("largest head angle, degrees", float(own.pose.angles.abs().max()), 0.0, 45.0, "it looks at the camera"),
        Finding("keypoint scale", float(own.pose.scale), 0.5, 2.5, "the extractor gives 1 to 2 for portraits"),
        Finding(
            "reconstruction, dB", level(source.crop.picture, still[1]), 22.0, math.inf, "nothing moves: same picture"
        ),
        Finding("driven by itself, dB", level(still[1], itself[1]), 30.0, math.inf, "relative motion is none"),
        Finding("answer to another pose, dB", _inside(still[1], moved[1]), 0.0, 35.0, "the face must change"),
    )
    rows = [SheetRow(0, portrait, still[1]), SheetRow(1, portrait, itself[1]), SheetRow(1, driving, moved[1])]
    sheet = contact_sheet(portrait, rows, "check: reconstruction, driven by itself, driven by another pose")
    return CheckReport(findings, sheet)


def _drawn(
    model: LivePortrait, source: SourcePortrait, motions: Sequence[ImplicitMotion], options: AnimationOptions
) -> list[Picture]:
    return [frame.picture for frame in animate_portrait(model, source, motions, RenderOptions(options))]


def _inside(one: Picture, other: Picture) -> float:
    return float(psnr(unit(one[None, _MIDDLE, _MIDDLE]), unit(other[None, _MIDDLE, _MIDDLE])))
