"""Parsers of single argument values; each raises argparse.ArgumentTypeError for a bad one. Imports no torch itself."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, TypeVar

from ..errors import InputError

if TYPE_CHECKING:
    from ..faces.crop import Box

LARGEST_SIZE = 2048  # pixels a side, four times the training size: a larger picture only costs memory
FASTEST = 240  # frames per second
BOX_SIDES = 4

_T = TypeVar("_T")


def number(low: float, high: float = math.inf) -> Callable[[str], float]:
    """Returns a parser of finite numbers from `low` to `high`."""

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
    """Returns a parser of whole numbers from `low` to `high`."""

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}") from error
        return round(number(low, high)(str(value)))

    return read


def numbers(count: int) -> Callable[[str], tuple[float, ...]]:
    """Returns a parser of `count` comma-separated numbers of 0 or more."""

    def read(text: str) -> tuple[float, ...]:
        parts = tuple(map(number(0), text.split(",")))
        if len(parts) != count:
            raise argparse.ArgumentTypeError(f"expected {count} numbers with commas between, got {text!r}")
        return parts

    return read


def picture_size(text: str) -> int:
    """Parses a picture size in pixels a side that the networks support, up to LARGEST_SIZE."""
    from ..backends.personalive.reference import check_size

    size = whole(1, LARGEST_SIZE)(text)
    return _or_refuse(lambda: check_size(size))


def frame_rate(text: str) -> Fraction:
    """Parses frames per second, such as 25, 29.97 or 30000/1001: above 0, up to FASTEST."""
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= FASTEST:
        raise argparse.ArgumentTypeError(f"expected frames a second, above 0 and up to {FASTEST}, got {text!r}")
    return rate


def face_choice(text: str) -> str:
    """Returns `text` if `choose_face` accepts it as a choice."""
    from ..faces.crop import choose_face

    _or_refuse(lambda: choose_face((), text, None))
    return text


def box(text: str) -> Box:
    """Parses LEFT,TOP,RIGHT,BOTTOM in pixels."""
    from ..faces.crop import Box

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != BOX_SIDES or not all(map(math.isfinite, numbers)):
        raise argparse.ArgumentTypeError(f"expected LEFT,TOP,RIGHT,BOTTOM in pixels, got {text!r}")
    return _or_refuse(lambda: Box(*numbers))


def points(text: str) -> tuple[tuple[float, float], ...]:
    """Parses landmarks X,Y,X,Y,... in pixels, of a layout that LivePortrait's crops know."""
    from ..backends.liveportrait.crops import AXIS_POINTS

    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    pairs = tuple(zip(numbers[::2], numbers[1::2], strict=False))
    if 2 * len(pairs) != len(numbers) or len(pairs) not in AXIS_POINTS or not all(map(math.isfinite, numbers)):
        counts = ", ".join(str(count) for count in sorted(AXIS_POINTS))
        raise argparse.ArgumentTypeError(f"expected X,Y,... in pixels of {counts} points, got {text[:40]!r}")
    return pairs


def _or_refuse(make: Callable[[], _T]) -> _T:
    """Returns `make()`; turns its InputError or ValueError into argparse's error, which names the option."""
    try:
        return make()
    except (InputError, ValueError) as error:
        raise argparse.ArgumentTypeError(str(error)) from error
