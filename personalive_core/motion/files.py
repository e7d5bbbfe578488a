"""Motion files: safetensors with a schema version; loading gives back the saved bits."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from torch import Tensor

from ..errors import InputError
from ..media.files import load_tensors, save_tensors
from .check import check_details, check_motion, check_rate, check_times, details_of, rate_of
from .editing import cut
from .times import USUAL_RATE, cut_times, even_times, first_from, typical_rate, usual_rate
from .types import HeadPose, HybridMotion

MOTION_SCHEMA = "personalive-motion-2"
EVEN_SCHEMA = "personalive-motion-1"  # the one before, without times: its frames are evenly spaced
SUFFIXES = (".safetensors",)


@dataclass(frozen=True, eq=False)
class MotionFile:
    """The checked content of a motion file, or a part of it."""

    motion: HybridMotion
    times: Tensor  # [F + 1] int64, see motion/times.py
    rate: Fraction  # frames per second; the usual one if the times are uneven
    details: dict[str, str]


def save_motion(
    path: Path, motion: HybridMotion, details: dict[str, str] | None = None, times: Tensor | None = None
) -> None:
    """Writes `motion`, 2.4 kB per frame; `motion_details` reads `details` (rate, driving ...).

    `times` [F + 1] int64 are the time of each frame and the end of the last one, in nanoseconds since the first frame
    of the driving. None: evenly spaced at the rate in `details`, or at 25 frames per second. A rate outside 1..1000,
    such as the average of a film with long pauses, is stored as the rate of the median step.

    Raises OutputError, and InputError for what could not be read again: no frame, NaN, times that do not rise.
    """
    whose, told = f"the motion for {path.name}", dict(details or {})
    check_details(told, whose)
    rate = rate_of(told["rate"], whose) if "rate" in told else USUAL_RATE
    times = even_times(len(motion), rate) if times is None else times
    tensors = {
        "embedding": motion.embedding,
        "keypoints": motion.keypoints,
        "angles": motion.pose.angles,
        "translation": motion.pose.translation,
        "scale": motion.pose.scale,
        "box": motion.box,
        "valid": motion.valid,
    }
    check_motion(tensors, whose)
    check_times(times, len(motion), whose)
    if "rate" in told and (usual := usual_rate(rate, times)) != rate:
        told["rate"] = str(usual)
    save_tensors(path, {**tensors, "times": times}, {"schema": MOTION_SCHEMA, "details": json.dumps(told)})


def read_motion(path: Path) -> MotionFile:
    """Reads a motion file of this version or the one before, and checks all of it.

    Raises InputError for any other file, and for values of another type or shape, NaN, no frame, times that do not
    rise, or a rate outside 1..1000 frames per second.
    """
    tensors, metadata = load_tensors(path, MOTION_SCHEMA, EVEN_SCHEMA)
    check_motion(tensors, path.name)
    details = details_of(metadata, path.name)
    told = check_rate(details["rate"], path.name) if "rate" in details else None
    frames = len(tensors["valid"])
    times = even_times(frames, told or USUAL_RATE) if metadata["schema"] == EVEN_SCHEMA else tensors.get("times")
    times = check_times(times, frames, path.name)
    pose = HeadPose(tensors["angles"], tensors["translation"], tensors["scale"])
    motion = HybridMotion(tensors["embedding"], tensors["keypoints"], pose, tensors["box"], tensors["valid"])
    return MotionFile(motion, times, told or typical_rate(times), details)


def read_part(path: Path, start: float | Fraction, count: int | None = None) -> MotionFile:
    """Like `read_motion`: from the first frame at or after `start` on, in seconds since the file's first frame.

    `count` is the most frames to take, None for all. The values are float32, whatever they are in the file. Raises
    InputError also if no frame is left.
    """
    file = read_motion(path)
    first = first_from(file.times, start)
    if first == len(file.motion):
        raise InputError(f"{path.name} has no frame at {float(start):g} s: start earlier")
    motion = _in_float32(cut(file.motion, first, count))
    return replace(file, motion=motion, times=cut_times(file.times, first, len(motion)))


def _in_float32(motion: HybridMotion) -> HybridMotion:
    """The same motion in the type that the networks compute poses in."""
    pose = HeadPose(motion.pose.angles.float(), motion.pose.translation.float(), motion.pose.scale.float())
    return HybridMotion(motion.embedding.float(), motion.keypoints.float(), pose, motion.box.float(), motion.valid)


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
