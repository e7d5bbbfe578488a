"""Edited motion whose keypoints follow the edited pose: of a driving, and of motion fitted to a reference."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ...modules.keypoints import pose_keypoints, rotation_matrix
from ...motion.editing import Edit, edit
from ...motion.types import FittedMotion, HybridMotion, concat_motion
from .motion import lead_path


def edit_driving(motion: HybridMotion, change: Edit, weights: Tensor) -> HybridMotion:
    """`edit` of motion that is not fitted to a reference yet; its keypoints turn, move and grow as its pose does.

    Fitting takes over angles and expression as they are, x and y as changes since the first frame, and no size, unless
    its strengths say otherwise. To move and size the animated head exactly, use `edit_fitted`.
    """
    edited = edit(motion, change, weights)
    growth = 1 + weights[:, None, None] * (change.size - 1)
    turned = (motion.keypoints - _shift(motion)) @ rotation_matrix(motion.pose.angles).mT
    keypoints = turned @ rotation_matrix(edited.pose.angles) * growth + _shift(edited)
    return replace(edited, keypoints=torch.where(weights[:, None, None] == 0, motion.keypoints, keypoints))


def edit_fitted(fitted: FittedMotion, canonical: Tensor, change: Edit, weights: Tensor) -> FittedMotion:
    """`edit` of motion fitted to a reference with `canonical` keypoints [21, 3]; `weights` [F] of the driving frames.

    The animated head turns, moves and grows by exactly what `change` says. The lead-in leads to the edited first frame.
    """
    driving, lead = fitted.motion[fitted.lead :], fitted.motion[: fitted.lead]
    edited = edit(driving, change, weights)
    keypoints = torch.where(weights[:, None, None] == 0, driving.keypoints, pose_keypoints(canonical, edited.pose))
    edited = replace(edited, keypoints=keypoints)
    if len(lead) and weights[0] > 0:
        lead = lead_path(lead[:1], canonical, edited[:1], len(lead))  # it begins with the reference's own motion
    return FittedMotion(concat_motion([lead, edited]), fitted.lead)


def _shift(motion: HybridMotion) -> Tensor:
    """Where a pose puts the keypoints' centre: [F, 1, 3], without depth."""
    return torch.cat([motion.pose.translation[:, :2], torch.zeros(len(motion), 1)], 1)[:, None]
