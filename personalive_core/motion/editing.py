"""Motion editing: mixes two motions, cuts one, changes head and expression over a range of frames."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from .gaps import blend, mean_of
from .times import first_from
from .types import EXPRESSIONS, LOOKS, AnyMotion, HeadPose, MotionT, concat_motion

LENGTHS = ("shorter", "longer")
UNITS = ("frames", "seconds")


@dataclass(frozen=True)
class Edit:
    """What `edit` changes; the defaults change nothing. Raises InputError for a number that is not finite, or size 0.

    A factor of an angle works from looking straight ahead. Movement is measured from the motion's first frame, as
    retargeting does. A factor of the expression works from the mean expression of the motion's frames with a face: 0
    freezes the face in its average expression, 1 keeps it. The mean does not depend on the range, and one odd frame,
    such as a first one with closed eyes, hardly moves it. The pixels of a region cue stay as they were read: they move
    with the keypoints, but no factor of the expression reaches them.
    """

    pitch: float = 0.0  # degrees added; positive looks up
    yaw: float = 0.0  # degrees added; positive turns to the picture's right
    roll: float = 0.0  # degrees added; positive tilts the crown to the picture's right
    pitch_scale: float = 1.0
    yaw_scale: float = 1.0
    roll_scale: float = 1.0
    x: float = 0.0  # added, in halves of the picture; positive moves to the right
    y: float = 0.0  # added, in halves of the picture; positive moves down
    movement: float = 1.0  # factor of the movement in x and y
    size: float = 1.0  # factor of the head's size
    expression: float = 1.0

    def __post_init__(self) -> None:
        numbers = vars(self)
        wrong = [name for name, number in numbers.items() if not math.isfinite(number)]
        wrong += ["size"] if self.size <= 0 else []
        if wrong:
            raise InputError(f"{wrong[0]} is {numbers[wrong[0]]}: give a number, for the size one above 0")


def mix(a: MotionT, b: MotionT, head: float, expression: float, length: str) -> MotionT:
    """Blends two motions frame by frame: weight 0 gives `a`, 1 gives `b`.

    `head` weights pose, keypoints and box; `expression` weights the expression. `length` "shorter" ends with the
    shorter motion, "longer" repeats the shorter one's last frame. A frame is valid if it is valid in both motions;
    after the shorter one's end, if it is valid in the longer one. Raises InputError for an unknown length, a weight
    outside 0..1, motions of two systems, a region cue in only one, or a motion without frames.
    """
    if type(a) is not type(b):
        raise InputError(
            f"only motions of one system can be mixed, got {a!r} and {b!r}: extract both with the same system"
        )
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
    own, other = a.tensors(), b.tensors()
    return mixed.changed(
        valid=valid, **{name: _between(own[name], other[name], expression) for name in LOOKS if name in own}
    )


def cut(motion: MotionT, start: int, count: int | None = None) -> MotionT:
    """`count` frames from frame `start` on, or up to the motion's end if that is earlier; None: up to the end.

    Raises InputError for a start outside the motion or a count below 1.
    """
    if not 0 <= start < len(motion):
        raise InputError(f"start is frame {start}, but the motion has {len(motion)} frames: choose an earlier one")
    if count is not None and count < 1:
        raise InputError(f"count must be at least 1 frame, got {count}")
    return motion[start : None if count is None else start + count]


def range_weights(times: Tensor, start: float = 0, end: float = 0, unit: str = "frames", ramp: int = 0) -> Tensor:
    """How much an edit of the frames from `start` to `end` counts in each frame: [F], from 0 (outside) to 1.

    `times` are the motion's [F + 1]. `start` and `end` are frame numbers from 0 or seconds since the first frame; the
    frame at `end` is not edited, and 0 means the motion's end. Over the first and the last `ramp` frames of the range
    the weight rises and falls smoothly; not where the motion itself begins or ends. Raises InputError for an unknown
    unit, a negative ramp or a range without a frame.
    """
    if unit not in UNITS:
        raise InputError(f"unknown unit {unit!r}: use {' or '.join(UNITS)}")
    if ramp < 0 or not (start >= 0 and end >= 0 and math.isfinite(start + end)):
        raise InputError(f"start {start:g}, end {end:g} and ramp {ramp} must not be negative: use 0 or more")
    frames = len(times) - 1
    first, last = ((math.ceil(edge) if unit == "frames" else first_from(times, edge)) for edge in (start, end))
    last = min(last, frames) if end else frames
    if first >= last:
        raise InputError(
            f"the range from {start:g} to {end:g} {unit} holds none of the motion's {frames} frames: choose an earlier "
            "start or a later end, or 0 for the motion's end"
        )
    index = torch.arange(frames)
    inside = ((index >= first) & (index < last)).float()
    rise = (index - first + 1) / (ramp + 1) if first > 0 else inside
    fall = (last - index) / (ramp + 1) if last < frames else inside
    share = torch.minimum(rise, fall).clamp(0, 1)
    return inside * share * share * (3 - 2 * share)


def edit(motion: MotionT, change: Edit, weights: Tensor) -> MotionT:
    """Applies `change` to head pose and expression, in each frame as much as its weight [F] from 0 to 1 says.

    Frames of weight 0 stay as they are, to the bit. Keypoints stay: `backends/personalive/editing.py` poses them anew.
    """
    pose, weight = motion.pose, weights[:, None]
    gain = torch.tensor([change.pitch_scale, change.yaw_scale, change.roll_scale]) - 1
    turn = pose.angles * gain + torch.tensor([change.pitch, change.yaw, change.roll])
    moved = (pose.translation - pose.translation[:1]) * (change.movement - 1) + torch.tensor([change.x, change.y, 0.0])
    edited = HeadPose(
        pose.angles + weight * turn,
        pose.translation + weight * moved,
        pose.scale * (1 + weight * (change.size - 1)),
    )
    factor = 1 + weight[..., None] * (change.expression - 1)
    expressions = [name for name in EXPRESSIONS if name in motion.tensors()]
    return motion.changed(pose=edited, **{name: _expressed(motion, name, factor) for name in expressions})


def _expressed(motion: AnyMotion, name: str, factor: Tensor) -> Tensor:
    """The field `name` [F, L, D] with its difference from the mean times `factor` [F, 1, 1]."""
    values = motion.tensors()[name]
    mean = (values[motion.valid] if bool(motion.valid.any()) else values).mean(0, keepdim=True)
    return torch.where(factor == 1, values, mean + factor * (values - mean))


def _between(own: Tensor, other: Tensor, weight: float) -> Tensor:
    """`mean_of`, but an end itself at weight 0 and 1: NaN, which says "unknown", in the other one does not count."""
    if weight in (0, 1):
        return other if weight else own
    return mean_of(own, other, weight)


def _held(motion: MotionT, count: int) -> MotionT:
    """The first `count` frames; if there are fewer, the last one is repeated."""
    missing = max(count - len(motion), 0)
    return concat_motion([motion[:count], *([motion[-1:]] * missing)])


def _valid(a: AnyMotion, b: AnyMotion) -> Tensor:
    """The mix's `valid` [F] bool, as long as the longer motion."""
    shared = min(len(a), len(b))
    rest = a if len(a) > len(b) else b
    return torch.cat([a.valid[:shared] & b.valid[:shared], rest.valid[shared:]])
