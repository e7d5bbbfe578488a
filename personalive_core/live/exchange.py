"""Fields of live messages as values: numbers, settings and sound are checked before they are used."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..backends.personalive.motion import Strengths
from ..errors import InputError
from ..faces.crop import choose_face
from .types import MODES, Settings

STRENGTHS = ("rotation", "translation", "scale", "expression")
STRONGEST = 3.0
SLOWEST_CUTOFF, FASTEST_CUTOFF = 0.01, 1000.0  # Hz
SOUND_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)  # what AAC has
_STEREO = 2
_LARGEST = 2**53  # the largest whole number that a page's numbers hold exactly
_LARGEST_FLOAT = sys.float_info.max  # JSON's whole numbers have no limit
_FULL_SCALE = 32768.0


def number_of(fields: Mapping[str, Any], key: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number within `low`..`high`. Raises InputError for anything else."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST_FLOAT:
        raise InputError(f"{key} of a live message is a finite number: send one")
    if not low <= value <= high:
        raise InputError(f"{key} of a live message is from {low:g} to {high:g}, not {value:g}: send such a number")
    return float(value)


def whole_of(fields: Mapping[str, Any], key: str) -> int:
    """A whole number from 0 to 2**53. Raises InputError for anything else."""
    value = number_of(fields, key, 0, _LARGEST)
    if not value.is_integer():
        raise InputError(f"{key} of a live message is a whole number, not {value:g}: send one")
    return int(value)


def flag_of(fields: Mapping[str, Any], key: str) -> bool:
    """True or false. Raises InputError for anything else."""
    value = fields.get(key)
    if not isinstance(value, bool):
        raise InputError(f"{key} of a live message is true or false: send one of these")
    return value


def choice_of(fields: Mapping[str, Any], key: str, choices: tuple[str, ...]) -> str:
    """One of `choices`. Raises InputError for anything else."""
    value = fields.get(key)
    if not isinstance(value, str) or value not in choices:
        raise InputError(f"{key} of a live message is one of {', '.join(choices)}: send one of these")
    return value


def settings_fields(settings: Settings) -> dict[str, Any]:
    """The settings as a message's fields."""
    strengths = {name: getattr(settings.strengths, name) for name in STRENGTHS}
    rest = ("mode", "smoothing", "face", "mark")
    return {**strengths, **{name: getattr(settings, name) for name in rest}}


def changed_settings(settings: Settings, fields: Mapping[str, Any]) -> Settings:
    """The settings with those that a message names changed. Raises InputError for a value that cannot be."""
    strengths: Strengths = settings.strengths
    for name in STRENGTHS:
        if name in fields:
            strengths = replace(strengths, **{name: number_of(fields, name, 0, STRONGEST)})
    settings = replace(settings, strengths=strengths)
    if "mode" in fields:
        settings = replace(settings, mode=choice_of(fields, "mode", MODES))
    if "smoothing" in fields:
        free = fields["smoothing"] is None
        cutoff = None if free else number_of(fields, "smoothing", SLOWEST_CUTOFF, FASTEST_CUTOFF)
        settings = replace(settings, smoothing=cutoff)
    if "face" in fields:
        settings = replace(settings, face=_face(fields["face"]))
    if "mark" in fields:
        settings = replace(settings, mark=flag_of(fields, "mark"))
    return settings


def _face(value: object) -> str:
    if not isinstance(value, str):
        raise InputError("the face to follow is a text: send largest, left, or a number")
    choose_face((), value, None)
    return value


def samples_of(fields: Mapping[str, Any], payload: bytes) -> tuple[int, NDArray[np.float32]]:
    """Rate in Hz and samples [C, n] within -1..1 of a `sound` message. Raises InputError if it is none."""
    rate, channels = whole_of(fields, "rate"), whole_of(fields, "channels")
    if rate not in SOUND_RATES or channels not in (1, _STEREO):
        raise InputError(f"sound of {channels} channels at {rate} Hz cannot be recorded: send 1 or 2, at 48000 Hz")
    if len(payload) % (2 * channels):
        raise InputError("a piece of sound holds whole samples of 16 bits: send them all")
    samples = np.frombuffer(payload, "<i2").reshape(-1, channels).T
    return rate, samples.astype(np.float32) / np.float32(_FULL_SCALE)
