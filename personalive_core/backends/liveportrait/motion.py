"""Reads implicit motion from pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...device import copy_down
from ...media.picture import Picture
from ...motion.types import HeadPose
from .landmarks import Floats32, eye_openness, lip_openness
from .model import LivePortrait
from .types import ImplicitMotion


@dataclass(frozen=True)
class FaceFacts:
    """What detection says of F pictures besides their motion; by default nothing, and every frame has a face."""

    eyes: Tensor | None = None  # [F, 2] openness
    lips: Tensor | None = None  # [F, 1] openness
    box: Tensor | None = None  # [F, 4]
    valid: Tensor | None = None  # [F] bool


NO_FACTS = FaceFacts()


def openness_of(landmarks: Sequence[Floats32]) -> tuple[Tensor, Tensor]:
    """Openness of eyes [F, 2] and lips [F, 1] of F frames' 203 landmarks."""
    eyes = np.stack([eye_openness(points) for points in landmarks])
    return torch.from_numpy(eyes), torch.from_numpy(np.stack([lip_openness(points) for points in landmarks]))


def unit_pictures(pictures: Sequence[Picture]) -> Tensor:
    """Pictures [H, W, 3] uint8 of one size -> [F, 3, H, W] float32 in [0, 1]."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous().float() / 255


def read_implicit(model: LivePortrait, pictures: Tensor, facts: FaceFacts = NO_FACTS) -> ImplicitMotion:
    """The motion of pictures [F, 3, 256, 256] in [0, 1]."""
    pose, canonical, expression = model.read_motion(pictures)
    parts = copy_down(canonical, expression, pose.angles, pose.translation, pose.scale).read()
    canonical, expression, angles, translation, scale = parts
    count = len(pictures)
    return ImplicitMotion(
        canonical,
        expression,
        HeadPose(angles, translation, scale),
        torch.full((count, 2), torch.nan) if facts.eyes is None else facts.eyes,
        torch.full((count, 1), torch.nan) if facts.lips is None else facts.lips,
        torch.zeros(count, 4) if facts.box is None else facts.box,
        torch.ones(count, dtype=torch.bool) if facts.valid is None else facts.valid,
    )
