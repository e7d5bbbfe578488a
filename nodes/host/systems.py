"""Whose motion a node has got: PersonaLive's or LivePortrait's, and files of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...personalive_core.backends.liveportrait.motion_files import IMPLICIT
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.errors import InputError
from ...personalive_core.media.files import schema_of
from ...personalive_core.motion.files import HYBRID, MotionFile, head_alone, part_of, read_kind, save_kind
from ...personalive_core.motion.types import AnyMotion, HybridMotion
from .sockets import Motion


def hybrid(motion: Motion, alone: bool = False) -> HybridMotion:
    """PersonaLive's motion. Raises InputError for LivePortrait's, of which the head pose is given where `alone`."""
    frames: AnyMotion = motion.frames
    if isinstance(frames, HybridMotion) and (alone or not is_head(frames)):
        return frames
    if alone:
        return head_alone(HYBRID, frames)
    raise InputError(
        "the motion was read by LivePortrait: connect it to Retarget (LivePortrait), or to Keypoint Interpolate with "
        "expression 0 for its head pose alone, or read the driving with Extract Hybrid Motion"
    )


def is_head(frames: HybridMotion) -> bool:
    """Whether it is the head pose of another system alone: `head_alone` fills the rest with 0, which no face gives."""
    return not bool(frames.embedding.any()) and not bool(frames.keypoints.any())


def implicit(motion: Motion) -> ImplicitMotion:
    """LivePortrait's motion. Raises InputError for PersonaLive's."""
    if isinstance(motion.frames, ImplicitMotion):
        return motion.frames
    raise InputError(
        "the motion was read by PersonaLive: read the driving with Extract Motion (LivePortrait), or connect it to "
        "Keypoint Interpolate"
    )


def save_any_motion(path: Path, motion: Motion) -> None:
    """Writes the motion of either system. Raises as `save_kind` does, and InputError for a head alone."""
    frames: AnyMotion = motion.frames if isinstance(motion.frames, ImplicitMotion) else hybrid(motion)
    kind: Any = IMPLICIT if isinstance(frames, ImplicitMotion) else HYBRID
    save_kind(kind, path, frames, {"rate": str(motion.rate)}, motion.times)


def read_any_part(path: Path, start: float, count: int | None) -> MotionFile[Any]:
    """A part of a motion file of either system. Raises as `read_kind` and `part_of` do."""
    kind: Any = IMPLICIT if schema_of(path) == IMPLICIT.schema else HYBRID
    return part_of(read_kind(kind, path), path, start, count)
