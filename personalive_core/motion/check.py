"""Checks what a motion file holds or is to hold: types, shapes, finite values, rising times, rate and details."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from fractions import Fraction
from typing import NoReturn

import torch
from torch import Tensor

from ..errors import InputError
from .times import LEAST_RATE, MOST_RATE

MOTION_SHAPES: dict[str, tuple[int, ...]] = {  # shapes without the frame axis, which is first
    "embedding": (32, 16),
    "keypoints": (21, 3),
    "angles": (3,),
    "translation": (3,),
    "scale": (1,),
    "box": (4,),
}
VALUE_TYPES: dict[str, tuple[torch.dtype, ...]] = {
    "floating point": (torch.float32, torch.float16, torch.bfloat16, torch.float64),
    "bool": (torch.bool,),
    "int64": (torch.int64,),
    "int8": (torch.int8,),
}
RATE_TEXT = re.compile(r"[0-9]{1,30}(/[0-9]{1,30}|\.[0-9]{1,30})?")  # no exponent: 1e999999999 would fill the memory
MOST_TOLD = 40  # characters of a wrong text that a message repeats


def check_motion(
    tensors: Mapping[str, Tensor],
    whose: str,
    shapes: Mapping[str, tuple[int, ...]] = MOTION_SHAPES,
    may_be_nan: Collection[str] = (),
    pixels: Mapping[str, tuple[int, ...]] = {},
) -> None:
    """Raises InputError, which begins with `whose`, unless `tensors` are a motion of at least one frame.

    Each has its shape in `shapes`, without the frame axis, and is finite; NaN says "unknown" in those of `may_be_nan`.
    Those of `pixels` are int8 and need not be there.
    """
    valid = _typed(tensors.get("valid"), "valid", "bool", [None], whose)
    if not len(valid):
        _refuse(whose, "holds no frame, expected at least one")
    if bool((valid.contiguous().view(torch.uint8) > 1).any()):  # another byte would count as neither
        _refuse(whose, "holds valid that is neither true nor false")
    for name, shape in shapes.items():
        values = _typed(tensors.get(name), name, "floating point", [len(valid), *shape], whose)
        numbers = values.float().nan_to_num(nan=0, posinf=math.inf, neginf=-math.inf) if name in may_be_nan else values
        wrong = (~numbers.float().isfinite()).flatten(1).any(1).nonzero()
        if len(wrong):
            _refuse(whose, f"holds NaN or infinity as {name} of frame {int(wrong[0])}, expected finite numbers")
    for name in pixels.keys() & tensors.keys():
        _typed(tensors[name], name, "int8", [len(valid), *pixels[name]], whose)


def check_times(times: Tensor | None, frames: int, whose: str) -> Tensor:
    """`times` [frames + 1]. Raises InputError, which begins with `whose`, unless they are int64 and rise from 0 on."""
    times = _typed(times, "times", "int64", [frames + 1], whose)
    if times[0] < 0:
        _refuse(whose, "holds times below 0, expected times since the driving's first frame")
    falls = (times[1:] <= times[:-1]).nonzero()
    if len(falls):
        _refuse(whose, f"holds times that do not rise after frame {int(falls[0])}, expected rising ones")
    return times


def details_of(metadata: Mapping[str, str], whose: str) -> dict[str, str]:
    """The details in a file's metadata, empty if there are none. Raises InputError, which begins with `whose`."""
    try:
        details = json.loads(metadata.get("details", "{}"))
    except (ValueError, RecursionError):
        details = None
    return check_details(details, whose)


def check_details(details: object, whose: str) -> dict[str, str]:
    """`details`. Raises InputError, which begins with `whose`, unless they are a dict of texts."""
    if not isinstance(details, dict) or not all(isinstance(text, str) for item in details.items() for text in item):
        _refuse(whose, "has damaged details, expected an object of texts")
    return details


def rate_of(told: str, whose: str) -> Fraction:
    """Frames per second that a text tells, such as 25, 29.97 or 30000/1001. Raises InputError unless above 0."""
    rate = _parsed(told)
    if rate <= 0:
        _refuse(whose, f"says {told[:MOST_TOLD]!r} frames a second, expected a number above 0")
    return rate


def check_rate(told: str, whose: str) -> Fraction:
    """Like `rate_of`, for a text in a file. Raises InputError unless it is from LEAST_RATE to MOST_RATE."""
    rate = _parsed(told)
    if not LEAST_RATE <= rate <= MOST_RATE:
        limits = f"from {LEAST_RATE} to {MOST_RATE}"
        _refuse(whose, f"says {told[:MOST_TOLD]!r} frames a second, expected a number {limits}")
    return rate


def _parsed(told: str) -> Fraction:
    """The number that `told` is; 0 for anything else."""
    try:
        return Fraction(told) if RATE_TEXT.fullmatch(told) else Fraction(0)
    except ZeroDivisionError:
        return Fraction(0)


def _typed(tensor: Tensor | None, name: str, kind: str, shape: Sequence[int | None], whose: str) -> Tensor:
    """`tensor`. Raises InputError unless it has one of the types `kind` and `shape`, in which None is any number."""
    found = "nothing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
    if (
        tensor is None
        or tensor.dtype not in VALUE_TYPES[kind]
        or len(tensor.shape) != len(shape)
        or any(side not in (None, own) for side, own in zip(shape, tensor.shape, strict=True))
    ):
        sides = ", ".join("F" if side is None else str(side) for side in shape)
        _refuse(whose, f"holds {found} as {name}, expected {kind} [{sides}]")
    return tensor


def _refuse(whose: str, problem: str) -> NoReturn:
    raise InputError(f"{whose} {problem}: save the motion again")
