"""Motion of F frames as frozen values: head pose, hybrid motion, motion fitted to a reference."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class HeadPose:
    """Rigid head motion of F frames, as the 3-D implicit keypoint extractor gives it."""

    angles: Tensor  # [F, 3] pitch, yaw, roll in degrees
    translation: Tensor  # [F, 3] in units of half the picture
    scale: Tensor  # [F, 1]

    def __len__(self) -> int:
        return len(self.angles)

    def __getitem__(self, frames: slice) -> HeadPose:
        return HeadPose(self.angles[frames], self.translation[frames], self.scale[frames])


@dataclass(frozen=True)
class HybridMotion:
    """Hybrid motion of F frames (section 3.2), passed between nodes: float32 on the CPU, 2.4 kB per frame."""

    embedding: Tensor  # [F, L=32, D=16] 1-D implicit facial embedding
    keypoints: Tensor  # [F, 21, 3] 3-D implicit keypoints in [-1, 1] of the picture; after retargeting, the reference's
    pose: HeadPose  # the head pose that was applied to these keypoints
    box: Tensor  # [F, 4] face box in the driving frame: left, top, right, bottom in pixels
    valid: Tensor  # [F] bool: False where no face was found and the missing-face policy filled the frame

    def __len__(self) -> int:
        return len(self.embedding)

    def __getitem__(self, frames: slice) -> HybridMotion:
        if not isinstance(frames, slice):
            raise TypeError(f"index a HybridMotion with a slice, such as motion[3:4], not {frames!r}")
        return HybridMotion(
            self.embedding[frames], self.keypoints[frames], self.pose[frames], self.box[frames], self.valid[frames]
        )

    def __repr__(self) -> str:
        return f"HybridMotion({len(self)} frames, {int(self.valid.sum())} with a face)"


@dataclass(frozen=True)
class FittedMotion:
    """Motion retargeted to a reference, after lead-in frames from the reference's motion (MII): a stream's input."""

    motion: HybridMotion  # `lead` lead-in frames, then the driving frames, which len() counts
    lead: int

    def __len__(self) -> int:
        return len(self.motion) - self.lead


def concat_motion(motions: Iterable[HybridMotion], *, block: int = 256) -> HybridMotion:
    """The frames of all `motions`, one after the other. Raises InputError if there are none.

    Joins `block` of them at a time: many one-frame objects take more memory than the values in them.
    """
    blocks: list[HybridMotion] = []
    parts: list[HybridMotion] = []
    for motion in motions:
        parts.append(motion)
        if len(parts) == block:
            blocks, parts = [*blocks, _joined(parts)], []
    if not blocks and not parts:
        raise InputError("there is no motion to join: give at least one frame")
    return _joined([*blocks, *parts])


def _joined(parts: Sequence[HybridMotion]) -> HybridMotion:
    poses = [part.pose for part in parts]
    return HybridMotion(
        torch.cat([part.embedding for part in parts]),
        torch.cat([part.keypoints for part in parts]),
        HeadPose(*(torch.cat([getattr(pose, f.name) for pose in poses]) for f in fields(HeadPose))),
        torch.cat([part.box for part in parts]),
        torch.cat([part.valid for part in parts]),
    )
