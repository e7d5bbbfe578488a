"""Motion files: safetensors with a schema version; loading gives back the saved bits."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Generic

from torch import Tensor

from ..errors import InputError
from ..media.files import load_tensors, save_tensors, schema_of
from .check import MOTION_SHAPES, check_details, check_motion, check_rate, check_times, details_of, rate_of
from .editing import cut
from .times import USUAL_RATE, cut_times, even_times, first_from, typical_rate, usual_rate
from .types import CUE_SHAPE, AnyMotion, HybridMotion, MotionT

MOTION_SCHEMA = "personalive-motion-2"
EVEN_SCHEMA = "personalive-motion-1"  # the one before, without times: its frames are evenly spaced
SUFFIXES = (".safetensors",)
TEMPLATE_SUFFIXES = (".pkl", ".pickle")  # LivePortrait's own, which are programs: they are never read
_SCHEMA = re.compile(r"([a-z]+)-motion-[0-9]+")  # the system comes first
_SHARED = ("angles", "translation", "scale", "box", "valid")  # what a motion of every system holds


@dataclass(frozen=True)
class MotionKind(Generic[MotionT]):
    """How the motion of one system is stored; values have the names of the motion's tensors."""

    motion: type[MotionT]
    schema: str  # SYSTEM-motion-VERSION
    shapes: Mapping[str, tuple[int, ...]]  # without the frame axis, which is first
    head_alone: str  # what to do to take only the head pose from another system's file
    may_be_nan: tuple[str, ...] = ()  # where NaN says that a value is not known
    before: tuple[str, ...] = ()  # schemas that are still read: they have no times, frames are evenly spaced
    pixels: Mapping[str, tuple[int, ...]] = field(default_factory=dict)  # int8 tensors that need not be there

    @property
    def system(self) -> str:
        """The name of the system."""
        return self.schema.split("-")[0]


HYBRID = MotionKind(
    HybridMotion,
    MOTION_SCHEMA,
    MOTION_SHAPES,
    "set the strength of the expression to 0",
    before=(EVEN_SCHEMA,),
    pixels={"cue": CUE_SHAPE},
)


@dataclass(frozen=True, eq=False)
class MotionFile(Generic[MotionT]):
    """The checked content of a motion file, or a part of it."""

    motion: MotionT
    times: Tensor  # [F + 1] int64, see motion/times.py
    rate: Fraction  # frames per second; the usual one if the times are uneven
    details: dict[str, str]


def save_motion(
    path: Path, motion: HybridMotion, details: dict[str, str] | None = None, times: Tensor | None = None
) -> None:
    """Writes `motion`, 2.4 kB per frame, 30 kB with a region cue; `motion_details` reads `details` (rate, driving ...).

    `times` [F + 1] int64 are the time of each frame and the end of the last one, in nanoseconds since the first frame
    of the driving. None: evenly spaced at the rate in `details`, or at 25 frames per second. A rate outside 1..1000,
    such as the average of a film with long pauses, is stored as the rate of the median step.

    Raises OutputError, and InputError for what could not be read again: no frame, NaN, times that do not rise.
    """
    save_kind(HYBRID, path, motion, details, times)


def save_kind(
    kind: MotionKind[MotionT],
    path: Path,
    motion: MotionT,
    details: dict[str, str] | None = None,
    times: Tensor | None = None,
) -> None:
    """`save_motion` for the motion of any system."""
    whose, told = f"the motion for {path.name}", dict(details or {})
    check_details(told, whose)
    rate = rate_of(told["rate"], whose) if "rate" in told else USUAL_RATE
    times = even_times(len(motion), rate) if times is None else times
    tensors = motion.tensors()
    check_motion(tensors, whose, kind.shapes, kind.may_be_nan, kind.pixels)
    check_times(times, len(motion), whose)
    if "rate" in told and (usual := usual_rate(rate, times)) != rate:
        told["rate"] = str(usual)
    save_tensors(path, {**tensors, "times": times}, {"schema": kind.schema, "details": json.dumps(told)})


def read_motion(path: Path) -> MotionFile[HybridMotion]:
    """Reads a motion file of this version or the one before, and checks all of it.

    Raises InputError for any other file, and for values of another type or shape, NaN, no frame, times that do not
    rise, or a rate outside 1..1000 frames per second.
    """
    return read_kind(HYBRID, path)


def read_kind(kind: MotionKind[MotionT], path: Path, head_alone: bool = False) -> MotionFile[MotionT]:
    """`read_motion` for the motion of any system; of another system's it raises InputError.

    With `head_alone`, another system's is read too: its head pose, box and valid frames, and 0 for the rest.
    """
    if path.suffix.lower() in TEMPLATE_SUFFIXES:
        raise InputError(
            f"{path.name} is a pickle, which can run programs and is never read: make a motion file of its driving "
            f"with `personalive motion --system {kind.system}`"
        )
    schema = schema_of(path) or ""
    other = _SCHEMA.fullmatch(schema)
    is_other = other is not None and other[1] != kind.system
    if is_other and not head_alone:
        raise InputError(
            f"{path.name} holds the motion of {schema.split('-')[0]}, expected that of {kind.system}: extract it again "
            f"with `personalive motion --system {kind.system}`, or {kind.head_alone} to take its head pose alone"
        )
    tensors, metadata = load_tensors(path, schema if is_other else kind.schema, *kind.before)
    if is_other:
        check_motion(tensors, path.name, {name: shape for name, shape in kind.shapes.items() if name in _SHARED})
        times = {name: value for name, value in tensors.items() if name == "times"}
        tensors = times | _head_alone(kind, tensors)
    else:
        check_motion(tensors, path.name, kind.shapes, kind.may_be_nan, kind.pixels)
    return _file(kind, tensors, metadata, path.name)


def head_alone(kind: MotionKind[MotionT], motion: AnyMotion) -> MotionT:
    """The head pose, box and valid frames of another system's motion, and 0 for the rest."""
    return kind.motion.of(_head_alone(kind, motion.tensors()))


def _head_alone(kind: MotionKind[MotionT], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    frames, like = len(tensors["valid"]), tensors["angles"]
    rest = {name: like.new_zeros(frames, *shape) for name, shape in kind.shapes.items() if name not in _SHARED}
    return {name: tensors[name] for name in _SHARED} | rest


def _file(
    kind: MotionKind[MotionT], tensors: dict[str, Tensor], metadata: Mapping[str, str], whose: str
) -> MotionFile[MotionT]:
    details = details_of(metadata, whose)
    told = check_rate(details["rate"], whose) if "rate" in details else None
    frames = len(tensors["valid"])
    evenly = metadata["schema"] in kind.before or metadata["schema"] == EVEN_SCHEMA
    times = even_times(frames, told or USUAL_RATE) if evenly else tensors.get("times")
    times = check_times(times, frames, whose)
    return MotionFile(kind.motion.of(tensors), times, told or typical_rate(times), details)


def read_part(path: Path, start: float | Fraction, count: int | None = None) -> MotionFile[HybridMotion]:
    """Like `read_motion`: from the first frame at or after `start` on, in seconds since the file's first frame.

    `count` is the most frames to take, None for all. The values are float32, whatever they are in the file. Raises
    InputError also if no frame is left.
    """
    return part_of(read_motion(path), path, start, count)


def part_of(
    file: MotionFile[MotionT], path: Path, start: float | Fraction, count: int | None = None
) -> MotionFile[MotionT]:
    """The part of a `file` that was read from `path`, see `read_part`."""
    first = first_from(file.times, start)
    if first == len(file.motion):
        raise InputError(f"{path.name} has no frame at {float(start):g} s: start earlier")
    motion = _in_float32(cut(file.motion, first, count))
    return replace(file, motion=motion, times=cut_times(file.times, first, len(motion)))


def _in_float32(motion: MotionT) -> MotionT:
    """The same motion in the type that the networks compute poses in."""
    tensors = motion.tensors()
    return motion.of({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()})


def load_motion(path: Path) -> HybridMotion:
    """Reads what `save_motion` wrote. Raises InputError for any other file, and for a damaged one."""
    return read_motion(path).motion


def motion_times(path: Path) -> Tensor:
    """The time of each frame and the end of the last one: [F + 1] int64 nanoseconds since the driving's first frame.

    Raises InputError for any other file.
    """
    return read_motion(path).times


def motion_details(path: Path) -> dict[str, str]:
    """The `details` that `save_motion` wrote. Raises InputError for any other file."""
    return read_motion(path).details


def motion_rate(path: Path) -> Fraction:
    """Frames per second of a motion file, from 1 to 1000: as told, else as its times say. Raises InputError."""
    return read_motion(path).rate
