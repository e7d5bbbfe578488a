"""How ComfyUI-LivePortraitKJ transfers motion, where it differs: its modes, and sources that are too few."""

from __future__ import annotations

from dataclasses import replace

from ...errors import InputError
from .kalman import OBSERVATION_VARIANCE, kalman_smoothed
from .transfer import TransferOptions, picture_placing
from .types import Placing

KJ_SMOOTHED = "source_video_smoothed"
KJ_MODES = ("relative", "relative_rotation_only", "single_frame", "off", KJ_SMOOTHED)
KJ_SMOOTHING = 10 * OBSERVATION_VARIANCE
TOO_FEW = ("constant", "cycle", "mirror", "cut")


def check_kj_mode(mode: str) -> None:
    """Raises InputError unless it is one of KJ_MODES."""
    if mode not in KJ_MODES:
        raise InputError(f"the mode is one of {', '.join(KJ_MODES)}, got {mode!r}: choose one of these")


def check_kj(mode: str | None, is_video: bool, by_picture: bool = False) -> None:
    """Raises InputError for a mode that this source does not have, or not for this driving; None: no mode."""
    if mode == KJ_SMOOTHED and not is_video:
        raise InputError(f"{mode} is for a source video, and the source is a picture: choose another mode")
    if mode is not None and is_video and by_picture:
        raise InputError(f"{mode} moves a source video by a driving video, got a picture: leave the KJ mode out")


def kj_placing(
    mode: str, source: Placing, driving: Placing, first: Placing, amount: float = 1.0, variance: float = KJ_SMOOTHING
) -> Placing:
    """The source [F] placed by `driving` [F] in one of KJ_MODES; its expression is multiplied by `amount`.

    `first` [1] is the driving's first frame. Raises InputError for an unknown mode.
    """
    check_kj_mode(mode)
    if mode == "relative":
        found = picture_placing(source, driving, first, TransferOptions("relative", "all"))
    elif mode == KJ_SMOOTHED:
        rotation = kalman_smoothed(driving.rotation @ first.rotation.mT @ source.rotation, variance)
        expression = kalman_smoothed(source.expression + driving.expression - first.expression, variance)
        found = Placing(rotation, expression, source.scale, driving.translation)
    else:
        found = Placing(
            source.rotation if mode == "relative_rotation_only" else driving.rotation,
            driving.expression if mode == "single_frame" else source.expression,
            source.scale,
            driving.translation,
        )
    return replace(found, expression=amount * found.expression)


def source_frames(policy: str, sources: int, frames: int) -> list[int]:
    """Which of the `sources` each of the driving's `frames` takes, by a policy of TOO_FEW.

    Raises InputError for an unknown policy, or without a source.
    """
    if policy not in TOO_FEW or sources < 1:
        raise InputError(f"{sources} sources with {policy!r}: give at least one, and one of {', '.join(TOO_FEW)}")
    if policy == "cut":
        return list(range(min(sources, frames)))
    if policy == "constant":
        return [min(index, sources - 1) for index in range(frames)]
    if policy == "cycle":
        return [index % sources for index in range(frames)]
    there_and_back = [*range(sources), *range(sources - 1, -1, -1)]
    return [there_and_back[index % len(there_and_back)] for index in range(frames)]
