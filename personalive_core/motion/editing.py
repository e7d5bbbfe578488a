"""Motion editing: mixes two motions, cuts one."""

from __future__ import annotations

from dataclasses import replace

import torch

from ..errors import InputError
from .gaps import blend, lerp
from .types import HybridMotion, concat_motion

LENGTHS = ("shorter", "longer")


def mix(a: HybridMotion, b: HybridMotion, head: float, expression: float, length: str) -> HybridMotion:
    """Blends two motions frame by frame: weight 0 gives `a`, 1 gives `b`.

    `head` weights pose, keypoints and box; `expression` weights the embedding. `length` "shorter" ends with the shorter
    motion, "longer" repeats the shorter one's last frame. A frame is valid if it is valid in both motions; after the
    shorter one's end, if it is valid in the longer one. Raises InputError for an unknown length, a weight outside 0..1
    or a motion without frames.
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
    """`count` frames from frame `start` on, or up to the motion's end if that is earlier; None: up to the end.

    Raises InputError for a start outside the motion or a count below 1.
    """
    if not 0 <= start < len(motion):
        raise InputError(f"start is frame {start}, but the motion has {len(motion)} frames: choose an earlier one")
    if count is not None and count < 1:
        raise InputError(f"count must be at least 1 frame, got {count}")
    return motion[start : None if count is None else start + count]


def _held(motion: HybridMotion, count: int) -> HybridMotion:
    """The first `count` frames; if there are fewer, the last one is repeated."""
    missing = max(count - len(motion), 0)
    return concat_motion([motion[:count], *([motion[-1:]] * missing)])


def _valid(a: HybridMotion, b: HybridMotion) -> torch.Tensor:
    """The mix's `valid` [F] bool, as long as the longer motion."""
    shared = min(len(a), len(b))
    rest = a if len(a) > len(b) else b
    return torch.cat([a.valid[:shared] & b.valid[:shared], rest.valid[shared:]])
