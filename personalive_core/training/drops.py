"""Drops conditions at random while training, so that none of them is relied on alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..backends.personalive.types import Reference
from ..modules.inputs import LayerFeatures, MotionFeatures
from .data import generator
from .presets import Preset

DROPS_IMAGE, DROPS_FACE, DROPS_POSE, DROPS_TOKENS = (
    20,
    21,
    22,
    23,
)  # numbers of the random streams, which no stage uses for anything else


@dataclass(frozen=True)
class Dropped:
    """What is dropped in one batch: the shares of `row`, drawn from `numbers`."""

    row: Preset
    numbers: tuple[int, ...]


def dropped_by(row: Preset, *numbers: int) -> tuple[Dropped, ...]:
    """A `Dropped`; none where the row drops nothing and noises nothing anew."""
    shares = row.dropped_image + row.dropped_motion + row.dropped_pose + row.dropped_reference
    return (Dropped(row, numbers),) if shares or row.renoised else ()


def kept(count: int, share: float, like: Tensor, *numbers: int) -> Tensor:
    """Factors [count, 1, 1] on the device of `like`: 0 for the items that are dropped, 1 for the others."""
    drawn = generator(*numbers).random(count) >= share
    return torch.from_numpy(drawn).to(like)[:, None, None]


def drop_image(row: Preset, clip: Tensor, *numbers: int) -> Tensor:
    """Image embeddings [B, 1, D]; a share `row.dropped_image` of them becomes 0."""
    return clip * kept(len(clip), row.dropped_image, clip, *numbers, DROPS_IMAGE) if row.dropped_image else clip


def drop_motion(row: Preset, motion: MotionFeatures, *numbers: int) -> MotionFeatures:
    """Motion features [B, F, ...]; of a share of the items the facial embeddings become 0, of a share the pose."""
    face, pose = motion.face, motion.pose
    if row.dropped_motion:
        factor = kept(len(face), row.dropped_motion, face, *numbers, DROPS_FACE)
        face = face * factor[..., None]
    if row.dropped_pose:
        factor = kept(len(pose), row.dropped_pose, pose, *numbers, DROPS_POSE)
        pose = pose * factor.reshape(-1, *(1 for _ in pose.shape[1:]))
    return MotionFeatures(face, pose)


def drop_reference(row: Preset, reference: Reference, *numbers: int) -> Reference:
    """`reference` without a share of its tokens."""
    return replace(reference, features=drop_tokens(row, reference.features, *numbers))


def drop_tokens(row: Preset, features: LayerFeatures, *numbers: int) -> LayerFeatures:
    """Keys and values [B, L_i, C_i] without a share `row.dropped_reference` of their tokens, others for each item."""
    if not row.dropped_reference:
        return features
    left = []
    for layer, (keys, values) in enumerate(features):
        batch, length = keys.shape[:2]
        count = max(1, int(length * (1 - row.dropped_reference)))
        order = generator(*numbers, DROPS_TOKENS, layer).random((batch, length)).argsort(1)[:, :count]
        rows = torch.from_numpy(order).to(keys.device)[..., None]
        left.append((keys.gather(1, rows.expand(-1, -1, keys.shape[-1])),
                     values.gather(1, rows.expand(-1, -1, values.shape[-1]))))  # fmt: skip
    return tuple(left)
