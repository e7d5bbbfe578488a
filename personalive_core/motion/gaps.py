"""Sequences of motion: fills gaps (frames without a face), blends, joins, and splits into windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from ..errors import FaceError, InputError
from .types import MotionT, check_alike, concat_motion

BLOCK = 256  # frames whose pixels are floating-point numbers at once
MISSING_POLICIES = ("hold", "interpolate", "neutral", "error")


def lerp(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """Linear interpolation: `start` at weight 0, `end` at weight 1."""
    return (1 - weight) * start + weight * end


def mean_of(start: Tensor, end: Tensor, weight: Tensor | float) -> Tensor:
    """`lerp` in the type of `start`: whole numbers, such as pixels, stay whole, and are taken block by block."""
    if start.is_floating_point():
        return lerp(start, end, weight)
    every = torch.broadcast_tensors(start, end, torch.as_tensor(weight, dtype=torch.float32))
    parts = zip(*(values.split(BLOCK) for values in every), strict=True)
    return torch.cat([lerp(*part).round().to(start.dtype) for part in parts])


def blend(start: MotionT, end: MotionT, weights: Tensor, valid: bool) -> MotionT:
    """Interpolates every value from `start` to `end` (1 or F frames each) at `weights` [F]; all frames are `valid`.

    Raises InputError if only one has a region cue.
    """
    starts, ends = start.tensors(), end.tensors()
    check_alike(starts, ends)
    blended = {
        name: mean_of(tensor, ends[name], weights.view(-1, *[1] * (tensor.dim() - 1)))
        for name, tensor in starts.items()
        if name != "valid"
    }
    return start.of({**blended, "valid": torch.full((len(weights),), valid)})


def fill_missing(motions: Iterable[MotionT], policy: str = "hold", neutral: MotionT | None = None) -> Iterator[MotionT]:
    """Replaces the motion of frames whose `valid` is False by `policy`; `valid` stays False. Yields every frame.

    hold: the last valid frame; before the first valid frame, that one. interpolate: between the valid frames around the
    gap. neutral: `neutral` [1], the reference's own motion. error: raises FaceError that names the frame.
    Memory grows only with the length of a gap. Raises FaceError if no frame is valid, InputError for an unknown policy.
    """
    if policy not in MISSING_POLICIES:
        raise InputError(f"unknown missing-face policy {policy!r}: use one of {', '.join(MISSING_POLICIES)}")
    last: MotionT | None = None
    gap = seen = 0
    for frame in _one_by_one(motions):
        seen += 1
        if bool(frame.valid):
            yield from _gap(last or frame, frame, gap, policy, neutral)
            gap, last = 0, frame
            yield frame
        elif policy == "error":
            raise FaceError(f"no face in driving frame {seen - 1}: set missing faces to hold, or cut the frame")
        elif policy == "hold" and last is not None:
            yield from _gap(last, last, 1, policy, neutral)
        else:
            gap += 1
    if seen and last is None:
        raise FaceError(f"no face in any of the {seen} driving frames: choose another detector, or give the face's box")
    if last is not None:
        yield from _gap(last, last, gap, policy, neutral)


def _one_by_one(motions: Iterable[MotionT]) -> Iterator[MotionT]:
    for motion in motions:
        yield from (motion[i : i + 1] for i in range(len(motion)))


def _gap(before: MotionT, after: MotionT, frames: int, policy: str, neutral: MotionT | None) -> Iterator[MotionT]:
    """The `frames` filled frames of a gap between two valid ones; yields nothing for 0."""
    if not frames:
        return
    if policy == "neutral":
        if neutral is None:
            raise ValueError("policy neutral needs the reference's own motion")
        before = after = neutral
    weights = torch.arange(1, frames + 1) / (frames + 1)
    yield blend(before, after, weights if policy == "interpolate" else torch.zeros(frames), valid=False)


def in_windows(motions: Iterable[MotionT], window: int) -> Iterator[MotionT]:
    """Yields the same frames in pieces of `window` frames; the last piece may be shorter."""
    held: list[MotionT] = []
    count = 0
    for motion in motions:
        held.append(motion)
        count += len(motion)
        while count >= window:
            joined = concat_motion(held) if len(held) > 1 else held[0]  # a whole clip is sliced, not copied
            yield joined[:window]
            held, count = [joined[window:]], count - window
    if count:
        yield concat_motion(held)
