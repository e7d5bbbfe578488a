"""Whose motion a node has got: PersonaLive's or LivePortrait's, and files of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...personalive_core.backends.liveportrait.motion_files import IMPLICIT
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.errors import InputError
from ...personalive_core.media.files import schema_of
from ...personalive_core.motion.files import HYBRID, MotionFile, part_of, read_kind, save_kind
from ...personalive_core.motion.types import AnyMotion, HybridMotion
from .sockets import Motion


def hybrid(motion: Motion) -> HybridMotion:
    """PersonaLive's motion. Raises InputError for LivePortrait's."""
    if isinstance(motion.frames, HybridMotion):
        return motion.frames
    raise InputError(
        "the motion was read by LivePortrait: connect it to Retarget (LivePortrait), or read the driving with Extract "
        "Hybrid Motion"
    )


def implicit(motion: Motion) -> ImplicitMotion:
    """LivePortrait's motion. Raises InputError for PersonaLive's."""
    if isinstance(motion.frames, ImplicitMotion):
        return motion.frames
    raise InputError(
        "the motion was read by PersonaLive: read the driving with Extract Motion (LivePortrait), or connect it to "
        "Keypoint Interpolate"
    )


def save_any_motion(path: Path, motion: Motion) -> None:
    """Writes the motion of either system. Raises as `save_kind` does."""
    frames: AnyMotion = motion.frames
    kind: Any = IMPLICIT if isinstance(frames, ImplicitMotion) else HYBRID
    save_kind(kind, path, frames, {"rate": str(motion.rate)}, motion.times)


def read_any_part(path: Path, start: float, count: int | None) -> MotionFile[Any]:
    """A part of a motion file of either system. Raises as `read_kind` and `part_of` do."""
    kind: Any = IMPLICIT if schema_of(path) == IMPLICIT.schema else HYBRID
    return part_of(read_kind(kind, path), path, start, count)
