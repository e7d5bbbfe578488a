"""Motion of F frames as frozen values: the base of every system's motion, head pose, hybrid and fitted motion."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from ..errors import InputError
from ..faces.regions import MASK_REGIONS
from ..text import warn_once

_log = logging.getLogger(__name__)

# The fields, of whatever system, that say how the face looks: the expression itself, and what is measured of it.
EXPRESSIONS = ("embedding", "expression")
LOOKS = (*EXPRESSIONS, "eyes", "lips", "cue")

CUE_SIDE = 48  # pixels a side of a region's cut: about those of an eye in a picture of 256 pixels
CUE_SHAPE = (len(MASK_REGIONS), 3, CUE_SIDE, CUE_SIDE)  # of one frame

_ValuesT = TypeVar("_ValuesT", bound="FrameValues")
MotionT = TypeVar("MotionT", bound="AnyMotion")


@dataclass(frozen=True)
class FrameValues:
    """Values of F frames: each field is a tensor [F, ...], or such values themselves, whose class is in `NESTED`.

    A field whose default is None need not be there.
    """

    NESTED: ClassVar[Mapping[str, Any]] = {}

    def __len__(self) -> int:
        return len(next(iter(self.tensors().values())))

    def __getitem__(self: _ValuesT, frames: slice) -> _ValuesT:
        return self.of({name: tensor[frames] for name, tensor in self.tensors().items()})

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that is there by its field's name, which no other tensor has."""
        found: dict[str, Tensor] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None:
                found |= value.tensors() if isinstance(value, FrameValues) else {field.name: value}
        return found

    @classmethod
    def of(cls: type[_ValuesT], tensors: Mapping[str, Tensor]) -> _ValuesT:
        """The values made of these `tensors`, see `tensors`; others among them are left out."""
        nested = {name: part.of(tensors) for name, part in cls.NESTED.items()}
        return cls(**{field.name: nested.get(field.name, tensors.get(field.name)) for field in fields(cls)})

    def changed(self: _ValuesT, **values: Any) -> _ValuesT:  # noqa: ANN401 - each field has its type
        """The same with other values of these fields."""
        return replace(self, **values)


@dataclass(frozen=True)
class HeadPose(FrameValues):
    """Rigid head motion of F frames, as the 3-D implicit keypoint extractor gives it."""

    angles: Tensor  # [F, 3] pitch, yaw, roll in degrees
    translation: Tensor  # [F, 3] in units of half the picture
    scale: Tensor  # [F, 1]


class AnyMotion(FrameValues):
    """What every system's motion has. No dataclass itself: these fields come after the system's own."""

    NESTED: ClassVar[Mapping[str, Any]] = {"pose": HeadPose}

    pose: HeadPose
    box: Tensor  # [F, 4] face box in the driving frame: left, top, right, bottom in pixels
    valid: Tensor  # [F] bool: False where no face was found

    def __getitem__(self: MotionT, frames: slice) -> MotionT:
        if not isinstance(frames, slice):
            raise TypeError(f"index a {type(self).__name__} with a slice, such as motion[3:4], not {frames!r}")
        return super().__getitem__(frames)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} frames, {int(self.valid.sum())} with a face)"


@dataclass(frozen=True, repr=False)
class HybridMotion(AnyMotion):
    """Hybrid motion of F frames (section 3.2), passed between nodes: float32 on the CPU, 2.4 kB per frame.

    Models with a region cue also read pixels of eyes, nose and mouth (modules/region_cue.py), 28 kB per frame.
    """

    embedding: Tensor  # [F, L=32, D=16] 1-D implicit facial embedding
    keypoints: Tensor  # [F, 21, 3] 3-D implicit keypoints in [-1, 1] of the picture; after retargeting, the reference's
    pose: HeadPose  # the head pose that was applied to these keypoints
    box: Tensor  # [F, 4] face box in the driving frame: left, top, right, bottom in pixels
    valid: Tensor  # [F] bool: False where no face was found and the missing-face policy filled the frame
    cue: Tensor | None = None  # [F, *CUE_SHAPE] int8 pixels of MASK_REGIONS, 127 is 1; None: read without a region cue


@dataclass(frozen=True)
class FittedMotion:
    """Motion retargeted to a reference, after lead-in frames from the reference's motion (MII): a stream's input."""

    motion: HybridMotion  # `lead` lead-in frames, then the driving frames, which len() counts
    lead: int

    def __len__(self) -> int:
        return len(self.motion) - self.lead


def concat_motion(motions: Iterable[MotionT], *, block: int = 256) -> MotionT:
    """The frames of all `motions`, one after the other. Raises InputError if there are none.

    Joins `block` of them at a time: many one-frame objects take more memory than the values in them.
    """
    blocks: list[MotionT] = []
    parts: list[MotionT] = []
    for motion in motions:
        parts.append(motion)
        if len(parts) == block:
            blocks, parts = [*blocks, _joined(parts)], []
    if not blocks and not parts:
        raise InputError("there is no motion to join: give at least one frame")
    return _joined([*blocks, *parts])


def cue_or_hidden(motion: HybridMotion) -> Tensor:
    """The motion's region cue [F, *CUE_SHAPE]; hidden everywhere, with a warning, for motion extracted without one."""
    if motion.cue is not None:
        return motion.cue
    warn_once(
        _log,
        "This model reads pixels of eyes, nose and mouth, but the motion was extracted without them: the facial "
        "embedding alone moves the face. Extract the motion again with this model.",
    )
    return torch.zeros(len(motion), *CUE_SHAPE, dtype=torch.int8, device=motion.keypoints.device)


def check_alike(*motions: Mapping[str, Tensor]) -> None:
    """Raises InputError if some of these motions, as `tensors` gives them, have a region cue and others none."""
    if len({"cue" in tensors for tensors in motions}) > 1:
        raise InputError("one motion has a region cue and another none: extract both with the same model")


def _joined(parts: Sequence[MotionT]) -> MotionT:
    tensors = [part.tensors() for part in parts]
    check_alike(*tensors)
    return parts[0].of({name: torch.cat([part[name] for part in tensors]) for name in tensors[0]})
