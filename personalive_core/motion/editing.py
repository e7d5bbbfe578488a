"""Motion editing: two motions mixed, one motion cut."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import InputError
from .gaps import blend, lerp
from .types import HybridMotion, concat

LENGTHS = ("shorter", "longer")


def mix(a: HybridMotion, b: HybridMotion, head: float, expression: float, length: str) -> HybridMotion:
    """Frame by frame from `a` at 0 to `b` at 1: pose, keypoints and box by `head`, embedding by `expression`.

    length: shorter ends with the shorter of the two, longer holds the shorter one's last frame. Where both still have
    frames a frame is valid if it is in both, then if it is in the longer one.
    """
    if length not in LENGTHS:
        raise InputError(f"unknown length {length!r}: use one of {', '.join(LENGTHS)}")
    for name, weight in (("head", head), ("expression", expression)):
        if not 0 <= weight <= 1:
            raise InputError(f"{name} must lie from 0 (the first motion) to 1 (the second), got {weight}")
    if not len(a) or not len(b):
        raise InputError("a motion without frames cannot be mixed: give two motions of at least one frame each")
    count = min(len(a), len(b)) if length == "shorter" else max(len(a), len(b))
    valid = _valid(a, b)[:count]
    a, b = _held(a, count), _held(b, count)
    mixed = blend(a, b, torch.full((count,), float(head)), valid=True)
    return replace(mixed, embedding=lerp(a.embedding, b.embedding, expression), valid=valid)


def cut(motion: HybridMotion, start: int, count: int | None = None) -> HybridMotion:
    """`count` frames from frame `start` on, fewer where the motion ends before; None is all. Raises InputError."""
    if not 0 <= start < len(motion):
        raise InputError(f"start is frame {start}, but the motion has {len(motion)} frames: choose an earlier one")
    if count is not None and count < 1:
        raise InputError(f"count must be at least 1 frame, got {count}")
    return motion[start : None if count is None else start + count]


def _held(motion: HybridMotion, count: int) -> HybridMotion:
    """The first `count` frames, the last one repeated where there are fewer."""
    missing = max(count - len(motion), 0)
    return concat([motion[:count], *([motion[-1:]] * missing)])


def _valid(a: HybridMotion, b: HybridMotion) -> torch.Tensor:
    """[F] bool as long as the longer one."""
    shared = min(len(a), len(b))
    rest = a if len(a) > len(b) else b
    return torch.cat([a.valid[:shared] & b.valid[:shared], rest.valid[shared:]])
