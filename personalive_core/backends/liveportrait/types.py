"""Values of LivePortrait: what its motion extractor reads, the parts of a pose, a source picture or video."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...modules.keypoints import rotation_matrix
from ...motion.types import AnyMotion, HeadPose


@dataclass(frozen=True)
class Placing:
    """How F frames place their keypoints: s (C R + expression) + t."""

    rotation: Tensor  # [F, 3, 3] for row vectors
    expression: Tensor  # [F, 21, 3] added to the turned canonical keypoints
    scale: Tensor  # [F, 1]
    translation: Tensor  # [F, 3] in units of half the picture

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, frames: slice) -> Placing:
        return Placing(self.rotation[frames], self.expression[frames], self.scale[frames], self.translation[frames])

    def keypoints(self, canonical: Tensor, keep_depth: bool = False) -> Tensor:
        """Places `canonical` [F or 1, 21, 3]: [F, 21, 3]. Depth of the translation is left out unless it is kept."""
        shift = self.translation if keep_depth else self.translation * self.translation.new_tensor([1.0, 1.0, 0.0])
        return self.scale[..., None] * (canonical @ self.rotation + self.expression) + shift[:, None]


@dataclass(frozen=True, repr=False)
class ImplicitMotion(AnyMotion):
    """What the motion extractor reads from F pictures, and how open eyes and lips are; float32 on the CPU."""

    canonical: Tensor  # [F, 21, 3] keypoints of the face, neither turned nor moved
    expression: Tensor  # [F, 21, 3]
    pose: HeadPose
    eyes: Tensor  # [F, 2] openness of the picture's left and right eye; NaN where landmarks were not found
    lips: Tensor  # [F, 1] openness of the lips; likewise
    box: Tensor  # [F, 4] face box in the frame: left, top, right, bottom in pixels
    valid: Tensor  # [F] bool: False where no face was found

    @property
    def placing(self) -> Placing:
        """Rotation, expression, scale and translation."""
        return Placing(rotation_matrix(self.pose.angles), self.expression, self.pose.scale, self.pose.translation)

    @property
    def keypoints(self) -> Tensor:
        """[F, 21, 3] in [-1, 1] of the picture."""
        return self.placing.keypoints(self.canonical)

    def turned(self, degrees: Tensor) -> ImplicitMotion:
        """The same with `degrees` [F or 1, 3] of pitch, yaw and roll added."""
        return replace(self, pose=replace(self.pose, angles=self.pose.angles + degrees))


@dataclass(frozen=True)
class LiveSource:
    """Everything that animation needs from a source picture (F = 1) or a source video."""

    volume: Tensor  # [F, 32, 16, 64, 64] appearance
    motion: ImplicitMotion

    def __len__(self) -> int:
        return len(self.motion)

    def to(self, device: torch.device, dtype: torch.dtype) -> LiveSource:
        """A copy whose volume is on `device` as `dtype`; motion stays float32 on the CPU."""
        return replace(self, volume=self.volume.to(device, dtype))
