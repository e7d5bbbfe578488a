"""Motion files: safetensors with a schema version; loading gives back the saved bits."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

from ..errors import InputError
from ..media.files import load_tensors, save_tensors
from .types import HeadPose, HybridMotion

MOTION_SCHEMA = "personalive-motion-1"
MOTION_SHAPES: dict[str, tuple[int, ...]] = {  # shapes without the frame axis, which is first
    "embedding": (32, 16),
    "keypoints": (21, 3),
    "angles": (3,),
    "translation": (3,),
    "scale": (1,),
    "box": (4,),
    "valid": (),
}
SUFFIXES = (".safetensors",)


def save_motion(path: Path, motion: HybridMotion, details: dict[str, str] | None = None) -> None:
    """Writes `motion`, 2.4 kB per frame; `motion_details` reads `details` (rate, driving ...). Raises OutputError."""
    tensors = {
        "embedding": motion.embedding,
        "keypoints": motion.keypoints,
        "angles": motion.pose.angles,
        "translation": motion.pose.translation,
        "scale": motion.pose.scale,
        "box": motion.box,
        "valid": motion.valid,
    }
    save_tensors(path, tensors, {"schema": MOTION_SCHEMA, "details": json.dumps(details or {})})


def load_motion(path: Path) -> HybridMotion:
    """Reads what `save_motion` wrote. Raises InputError for any other file."""
    tensors, _ = load_tensors(path, MOTION_SCHEMA)
    frames = len(tensors.get("valid", ()))
    for name, shape in MOTION_SHAPES.items():
        found = list(tensors[name].shape) if name in tensors else "nothing"
        if found != [frames, *shape]:
            raise InputError(f"{path.name} holds {found} as {name}, expected {[frames, *shape]}: save the motion again")
    pose = HeadPose(tensors["angles"], tensors["translation"], tensors["scale"])
    return HybridMotion(tensors["embedding"], tensors["keypoints"], pose, tensors["box"], tensors["valid"])


def motion_details(path: Path) -> dict[str, str]:
    """The `details` that `save_motion` wrote. Raises InputError for any other file."""
    return dict(json.loads(load_tensors(path, MOTION_SCHEMA)[1].get("details", "{}")))


def motion_rate(path: Path) -> Fraction:
    """Frames per second of a motion file, 25 if it gives none. Raises InputError unless the rate is above 0."""
    told = motion_details(path).get("rate", "25")
    try:
        rate = Fraction(told)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if rate <= 0:
        raise InputError(f"{path.name} says {told!r} frames a second: save the motion again")
    return rate
