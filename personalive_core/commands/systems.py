"""Which arguments belong to which system, with their defaults; those of another system are refused."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace

from ..backends.hunyuan.types import SegmentRule
from ..backends.personalive.motion import Strengths
from ..backends.personalive.types import StreamConfig
from ..backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE
from ..errors import InputError
from .liveportrait import LIVEPORTRAIT_ONLY
from .options import refuse_options

DEFAULT_SIZE = 512
STREAM_STEPS = 4  # of PersonaLive: the published number
DEFAULT_SEGMENT = SegmentRule().frames

# By the systems that have them: arguments, by their names when parsed, and what they are where they were not given.
Owned = Mapping[tuple[str, ...], Mapping[str, object]]
LICENCE_SWITCH = {"accept_hunyuan_licence": False}
ENGINE_OWNED: Owned = {
    (PERSONALIVE,): {"decoder": "full", "lora": [], "lora_strength": None},
    (PERSONALIVE, HUNYUAN): {"size": DEFAULT_SIZE},
    (HUNYUAN,): LICENCE_SWITCH,
}
CLIP_OWNED: Owned = {(PERSONALIVE, LIVEPORTRAIT): {"driving_box": None}}
EXPERIMENTAL: Mapping[str, object] = {"history": 0, "fusion": None}
ANIMATE_OWNED: Owned = {
    (LIVEPORTRAIT,): LIVEPORTRAIT_ONLY,
    (PERSONALIVE,): {**vars(Strengths()), "reference_crop": None, "feather": 0.1, **EXPERIMENTAL},
    (PERSONALIVE, LIVEPORTRAIT): {"reference_box": None, "crop_scale": 1.0},
    (PERSONALIVE, HUNYUAN): {"steps": None, "seed": 0},
    (HUNYUAN,): {"guidance": None, "motion_guidance": None, "segment": DEFAULT_SEGMENT},
}


def refuse_unowned(a: argparse.Namespace, *tables: Owned) -> None:
    """Raises InputError for an argument that the chosen system does not have; a command may lack some of them."""
    for table in tables:
        for owners, defaults in table.items():
            there = {name: default for name, default in defaults.items() if hasattr(a, name)}
            refuse_options(a, owners, there)


def refuse_others(a: argparse.Namespace) -> None:
    """Raises InputError for what `animate` of the chosen system does not have: an option, a number of steps."""
    refuse_unowned(a, ENGINE_OWNED, CLIP_OWNED, ANIMATE_OWNED)
    if a.system == PERSONALIVE:
        check_stream_history(a, stream_steps(a))


def check_stream_history(a: argparse.Namespace, steps: int) -> None:
    """Raises InputError for a history that does not fit beside the frames in flight."""
    try:
        replace(StreamConfig.of(steps), history=a.history)
    except InputError as error:
        raise InputError(f"argument --history: {error}") from error


def stream_steps(a: argparse.Namespace) -> int:
    """PersonaLive's number of steps. Raises InputError for one that its windows do not divide."""
    steps = STREAM_STEPS if a.steps is None else a.steps
    try:
        StreamConfig.of(steps)
    except InputError as error:
        raise InputError(f"argument --steps: {error}") from error
    return int(steps)
