"""Transfers the driving's motion to a source picture or video: which rotation, expression, scale and place it takes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import InputError
from .closed_lips import closed_lips
from .kalman import kalman_smoothed
from .regions import check_region, region_mask, turns
from .types import Placing

TRANSFER_MODES = ("relative", "absolute")


@dataclass(frozen=True)
class TransferOptions:
    """What of the driving is taken, and how. Raises InputError for an unknown mode or region."""

    mode: str = "relative"  # by the change since the driving's first frame, or "absolute": as the driving is
    region: str = "all"  # one of FACE_REGIONS

    def __post_init__(self) -> None:
        check_region(self.region)
        if self.mode not in TRANSFER_MODES:
            raise InputError(f"motion is taken {' or '.join(TRANSFER_MODES)}, got {self.mode!r}: choose one of these")

    @property
    def relative(self) -> bool:
        return self.mode == "relative"


def at_rest(picture: Placing, region: str) -> Placing:
    """What a driving picture [1] is measured against: itself with closed lips; for the eyes, without expression."""
    neutral = torch.zeros_like(picture.expression) if region == "eyes" else closed_lips()
    return replace(picture, expression=neutral)


def picture_placing(source: Placing, driving: Placing, first: Placing, options: TransferOptions) -> Placing:
    """The source picture [1] placed by each frame of `driving` [F]; `first` [1] is the driving's first frame."""
    region, relative = options.region, options.relative
    if relative:
        rotation = driving.rotation @ first.rotation.mT @ source.rotation
        expression = source.expression + driving.expression - first.expression
        translation = source.translation + driving.translation - first.translation
    else:
        rotation, expression, translation = driving.rotation, driving.expression, driving.translation
    scale = source.scale * driving.scale / first.scale if relative and region == "all" else source.scale
    mask = region_mask(region, whole=relative)
    return Placing(
        rotation if turns(region) else source.rotation.expand_as(driving.rotation),
        torch.where(mask, expression, source.expression),
        scale.expand_as(driving.scale),
        translation if turns(region) else source.translation.expand_as(driving.translation),
    )


def animal_placing(source: Placing, driving: Placing) -> Placing:
    """An animal's picture [1] placed by each frame of `driving` [F]: the driving's own rotation and expression."""
    count = len(driving)
    return Placing(driving.rotation, driving.expression, source.scale.expand(count, -1), driving.translation)


def video_placing(
    source: Placing, driving: Placing, first: Placing, options: TransferOptions, variance: float
) -> Placing:
    """The source video [F] placed frame by frame by `driving` [F], smoothed with this observation variance.

    `first` [1] is the driving's first frame. Scale stays the source's; so does the place, unless motion is absolute.
    """
    relative = options.relative
    expression = source.expression + driving.expression - first.expression if relative else driving.expression
    rotation = driving.rotation @ first.rotation.mT @ source.rotation if relative else driving.rotation
    return _framewise(
        source, kalman_smoothed(rotation, variance), kalman_smoothed(expression, variance), driving, options
    )


def video_placing_by_picture(source: Placing, driving: Placing, options: TransferOptions) -> Placing:
    """The source video [F] with the expression of a driving picture [1]; relative, each frame keeps its rotation."""
    change = driving.expression - closed_lips()
    expression = source.expression + change if options.relative else driving.expression.expand_as(source.expression)
    rotation = source.rotation if options.relative else driving.rotation.expand_as(source.rotation)
    return _framewise(source, rotation, expression, driving, options)


def _framewise(
    source: Placing, rotation: Tensor, expression: Tensor, driving: Placing, options: TransferOptions
) -> Placing:
    moves = turns(options.region)
    translation = source.translation if options.relative or not moves else driving.translation
    return Placing(
        rotation if moves else source.rotation,
        torch.where(region_mask(options.region, whole=False), expression, source.expression),
        source.scale,
        translation.expand_as(source.translation),
    )
