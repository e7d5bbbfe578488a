"""Expressions as values: what is added to a source's own, made by sliders or read from a sample picture."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...errors import InputError
from ...modules.keypoints import KEYPOINTS
from .sliders import slider_moves
from .types import ImplicitMotion

# Of a sample picture: the points whose expression is taken (all: None), and whether its rotation is.
SAMPLE_PARTS: Mapping[str, tuple[tuple[int, ...] | None, bool]] = {
    "OnlyExpression": (None, False),
    "OnlyRotation": ((), True),
    "OnlyMouth": ((14, 17, 19, 20), False),
    "OnlyEyes": ((1, 2, 11, 13, 15, 16), False),
    "All": (None, True),
}
NECK = 5  # the point whose expression moves the head in the picture


@dataclass(frozen=True)
class Expression:
    """What an editor adds to a source; expressions are added and multiplied."""

    delta: Tensor  # [21, 3] to the expression
    turn: Tensor  # [3] to pitch, yaw and roll, in degrees
    scale: float = 0.0  # part of the source's scale that is added to it
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0)  # in units of half the picture

    @classmethod
    def none(cls) -> Expression:
        """Changes nothing."""
        return cls(torch.zeros(KEYPOINTS, 3), torch.zeros(3))

    @classmethod
    def of(cls, values: Mapping[str, float], editor: str = "advanced") -> Expression:
        """That of slider values by name, in one of EDITORS."""
        return cls(*slider_moves(values, editor))

    def __add__(self, other: Expression) -> Expression:
        x, y, z = (a + b for a, b in zip(self.translation, other.translation, strict=True))
        return Expression(self.delta + other.delta, self.turn + other.turn, self.scale + other.scale, (x, y, z))

    def __mul__(self, factor: float) -> Expression:
        x, y, z = (factor * value for value in self.translation)
        return Expression(factor * self.delta, factor * self.turn, factor * self.scale, (x, y, z))


def blended_expression(start: Expression, end: Expression, weight: float) -> Expression:
    """`start` at weight 0, `end` at weight 1."""
    return start * (1 - weight) + end * weight


def sampled_expression(sample: ImplicitMotion, part: str, ratio: float = 1.0) -> Expression:
    """The expression of a sample picture [1], as `part` of SAMPLE_PARTS, times `ratio`.

    Raises InputError for an unknown part.
    """
    if part not in SAMPLE_PARTS:
        raise InputError(f"the part of a sample is one of {', '.join(SAMPLE_PARTS)}, got {part!r}: choose one of these")
    points, takes_rotation = SAMPLE_PARTS[part]
    own = sample.expression[0].clone()
    own[NECK, :2] = 0
    if points is not None:
        kept = torch.zeros(KEYPOINTS, 1)
        kept[list(points)] = 1
        own = own * kept
    return Expression(own, sample.pose.angles[0] if takes_rotation else torch.zeros(3)) * ratio


def read_codes(codes: Mapping[int, float]) -> Tensor:
    """AdvancedLivePortrait's numbers of an expression -> [21, 3]: code 10 p + a is axis a of point p, in thousandths.

    Raises InputError for a code that is no point's.
    """
    delta = torch.zeros(KEYPOINTS, 3)
    for code, value in codes.items():
        point, axis = divmod(code, 10)
        if not (0 <= point < KEYPOINTS and 0 <= axis < 3):  # noqa: PLR2004 - x, y, z
            raise InputError(
                f"an expression's code is 10 times a point of 0 to 20, plus its axis, got {code}: correct it"
            )
        delta[point, axis] = value * 0.001
    return delta


def written_codes(text: str) -> Tensor:
    """`read_codes` of a text such as `141=-20, 60=5`; separated by commas or lines. Empty: nothing is added.

    Raises InputError for anything else, and for a number that is not finite.
    """
    codes: dict[int, float] = {}
    for part in filter(None, (part.strip() for part in re.split(r"[,;\n]", text))):
        found = re.fullmatch(r"(\d{1,3})\s*=\s*(\S{1,24})", part)
        try:
            code, value = (int(found[1]), float(found[2])) if found else (0, math.nan)
        except ValueError:
            code, value = 0, math.nan
        if not math.isfinite(value):
            raise InputError(f"codes are code=value, such as 141=-20, got {part!r:.60}: correct it")
        codes[code] = value
    return read_codes(codes)
