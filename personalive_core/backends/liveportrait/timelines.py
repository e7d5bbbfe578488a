"""Expressions over the frames of a video: keyframes, and the command text of AdvancedLivePortrait that becomes them."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ...errors import InputError
from .editing import edited_by_node
from .expressions import Expression, blended_expression
from .types import ImplicitMotion

MOUTH_POINTS, LID_POINTS = (14, 17, 19, 20), (11, 13, 15, 16)  # that `FirstFrameShare` speaks of
_COMMAND = re.compile(r"(\d+)\s*=\s*(\d+)\s*:\s*(\d+)")


@dataclass(frozen=True)
class ExpressionKey:
    """An expression that is reached at a frame; between two keys it changes evenly."""

    frame: int
    expression: Expression


@dataclass(frozen=True)
class Timeline:
    """Keys in the order of their frames. Raises InputError if there are none, or two at one frame."""

    keys: tuple[ExpressionKey, ...]
    frames: int  # length of the video; 0: as long as its driving

    def __post_init__(self) -> None:
        places = [key.frame for key in self.keys]
        if not places or sorted(set(places)) != places:
            raise InputError(f"a timeline's keys are at rising frames, got {places}: order them and drop doubles")

    def lasting(self, frames: int, driving: int = 0) -> Timeline:
        """The same with this length; 0: as long as it is or its driving of so many frames, whichever is longer."""
        return replace(self, frames=frames or max(self.frames, driving))

    def at(self, frame: int) -> Expression:
        """The expression at a frame; before the first key its own, after the last one its own."""
        index = bisect_right([key.frame for key in self.keys], frame)
        if index in (0, len(self.keys)):
            return self.keys[max(index - 1, 0)].expression
        before, after = self.keys[index - 1], self.keys[index]
        weight = (frame - before.frame) / (after.frame - before.frame)
        return blended_expression(before.expression, after.expression, weight)


def read_commands(text: str, expressions: Sequence[Expression]) -> Timeline:
    """AdvancedLivePortrait's command text as a timeline: a line k=change:keep each, over a list of `expressions`.

    Expression k, from 1 on and 0 for none, is reached evenly in `change` frames, or at once for 0, and kept for `keep`.
    Raises InputError for another line, or an expression that the list does not hold.
    """
    keys, frame, last = [ExpressionKey(-1, Expression.none())], -1, Expression.none()
    for line in filter(None, (line.strip() for line in text.splitlines())):
        found = _COMMAND.fullmatch(line)
        if not found:
            raise InputError(f"a command is expression=change:keep, such as 1=10:5, got {line!r}: correct the line")
        number, change, keep = (int(part) for part in found.groups())
        if number > len(expressions):
            raise InputError(f"command {line!r} needs expression {number}, but there are {len(expressions)}: add it")
        last = expressions[number - 1] if number else Expression.none()
        # without a change, the first frame that is kept is the one that reaches it
        for length in (change, keep) if change else (min(keep, 1), keep - 1):
            if length > 0:
                frame += length
                keys.append(ExpressionKey(frame, last))
    return Timeline(tuple(keys), frame + 1)


@dataclass(frozen=True)
class FirstFrameShare:
    """How much of the driving's first expression is added from the second frame on, at lids and mouth."""

    eyes: float = 0.0
    mouth: float = 0.0


def timeline_keypoints(
    source: ImplicitMotion,
    timeline: Timeline,
    driving: ImplicitMotion | None = None,
    share: FirstFrameShare = FirstFrameShare(),
) -> Tensor:
    """Keypoints [F, 21, 3] of the source picture [1] for the timeline's frames, before stitching.

    A driving adds what changed since its first frame, but for its scale. After its last frame it adds no change any
    more, as the published code does.
    """
    found = [edited_by_node(source, expression) for expression in timeline_expressions(timeline, driving, share)]
    return torch.cat(found) if found else source.canonical[:0]


def timeline_expressions(
    timeline: Timeline, driving: ImplicitMotion | None = None, share: FirstFrameShare = FirstFrameShare()
) -> list[Expression]:
    """What is added to the source picture in each frame, see `timeline_keypoints`."""
    count = timeline.frames or (len(driving) if driving else 0)
    plain = [timeline.at(frame) for frame in range(count)]
    if driving is None or not len(driving):
        return plain
    return [expression + _driven(driving, frame, share) for frame, expression in enumerate(plain)]


def _driven(driving: ImplicitMotion, frame: int, share: FirstFrameShare) -> Expression:
    """What the driving adds at a frame."""
    first, found = driving[:1], Expression.none()
    if frame < len(driving):
        own = driving[frame : frame + 1]
        x, y, z = (own.pose.translation - first.pose.translation)[0].tolist()
        turn = own.pose.angles[0] - first.pose.angles[0]
        found = Expression(own.expression[0] - first.expression[0], turn, translation=(x, y, z))
    if frame:
        kept = torch.zeros_like(found.delta)
        kept[list(LID_POINTS)], kept[list(MOUTH_POINTS)] = share.eyes, share.mouth
        found = found + Expression(kept * first.expression[0], torch.zeros(3))
    return found
