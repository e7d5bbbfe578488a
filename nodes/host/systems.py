"""Whose motion a node has got, of the three systems, and files of all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...personalive_core.backends.hunyuan.motion_files import HUNYUAN_MOTION
from ...personalive_core.backends.hunyuan.types import HunyuanMotion
from ...personalive_core.backends.liveportrait.motion_files import IMPLICIT
from ...personalive_core.backends.liveportrait.types import ImplicitMotion
from ...personalive_core.errors import InputError
from ...personalive_core.media.files import schema_of
from ...personalive_core.motion.files import (
    HYBRID,
    MotionFile,
    MotionKind,
    head_alone,
    part_of,
    read_kind,
    save_kind,
)
from ...personalive_core.motion.types import AnyMotion, HybridMotion
from .sockets import Motion


@dataclass(frozen=True)
class MotionHome:
    """The nodes of one system's motion."""

    kind: MotionKind[Any]
    reader: str  # the system's name
    taker: str  # the node that takes it
    extractor: str  # the node that reads it


HOMES = (
    MotionHome(HYBRID, "PersonaLive", "Keypoint Interpolate", "Extract Hybrid Motion"),
    MotionHome(IMPLICIT, "LivePortrait", "Retarget (LivePortrait)", "Extract Motion (LivePortrait)"),
    MotionHome(HUNYUAN_MOTION, "HunyuanPortrait", "HunyuanPortrait Sample", "Extract Motion (HunyuanPortrait)"),
)


def home_of(frames: AnyMotion) -> MotionHome:
    """Where a motion belongs."""
    return next(home for home in HOMES if isinstance(frames, home.kind.motion))


def hybrid(motion: Motion, alone: bool = False) -> HybridMotion:
    """PersonaLive's motion. Raises InputError for another system's, of which the head pose is given where `alone`."""
    frames: AnyMotion = motion.frames
    if isinstance(frames, HybridMotion) and (alone or not is_head(frames)):
        return frames
    if alone:
        return head_alone(HYBRID, frames)
    home = HOMES[1] if isinstance(frames, HybridMotion) else home_of(frames)  # LivePortrait gives heads alone
    raise InputError(
        f"the motion was read by {home.reader}: connect it to {home.taker}, or to Keypoint Interpolate with "
        "expression 0 for its head pose alone, or read the driving with Extract Hybrid Motion"
    )


def is_head(frames: HybridMotion) -> bool:
    """Whether it is the head pose of another system alone: `head_alone` fills the rest with 0, which no face gives."""
    return not bool(frames.embedding.any()) and not bool(frames.keypoints.any())


def implicit(motion: Motion) -> ImplicitMotion:
    """LivePortrait's motion. Raises InputError for another system's."""
    frames: AnyMotion = motion.frames
    if isinstance(frames, ImplicitMotion):
        return frames
    raise InputError(elsewhere(frames, "Extract Motion (LivePortrait)"))


def hunyuan_frames(motion: Motion) -> HunyuanMotion:
    """HunyuanPortrait's motion. Raises InputError for another system's."""
    frames: AnyMotion = motion.frames
    if isinstance(frames, HunyuanMotion):
        return frames
    raise InputError(elsewhere(frames, "Extract Motion (HunyuanPortrait)"))


def elsewhere(frames: AnyMotion, extractor: str) -> str:
    """The message for a motion of another system than the one whose `extractor` reads."""
    home = home_of(frames)
    return f"the motion was read by {home.reader}: read the driving with {extractor}, or connect it to {home.taker}"


def save_any_motion(path: Path, motion: Motion) -> None:
    """Writes the motion of any system. Raises as `save_kind` does, and InputError for a head alone."""
    frames: AnyMotion = hybrid(motion) if isinstance(motion.frames, HybridMotion) else motion.frames
    save_kind(home_of(frames).kind, path, frames, {"rate": str(motion.rate)}, motion.times)


def read_any_part(path: Path, start: float, count: int | None) -> MotionFile[Any]:
    """A part of a motion file of any system. Raises as `read_kind` and `part_of` do."""
    schema = schema_of(path)
    kind = next((home.kind for home in HOMES if home.kind.schema == schema), HYBRID)
    return part_of(read_kind(kind, path), path, start, count)
