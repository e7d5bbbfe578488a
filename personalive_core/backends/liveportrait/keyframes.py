"""The text of an expression timeline: keyframes of ours, or AdvancedLivePortrait's commands."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ...errors import InputError
from .expressions import Expression
from .timelines import ExpressionKey, Timeline, read_commands

MOST_FRAMES = 1_000_000
_KEY = re.compile(r"(\d{1,9})\s*:\s*(\d{1,4})(?:\s*[x*×]\s*(-?\d{1,4}(?:\.\d+)?))?")


def read_timeline(text: str, expressions: Sequence[Expression]) -> Timeline:
    """A timeline over a list of `expressions`; its length is that of the text.

    Keyframes: a line frame: expression each, such as `24: 1`, or `24: 1 x 0.5` for half of it. Expressions are counted
    from 1; 0 is none, and what a timeline without a keyframe at 0 begins with. Between keyframes the expression changes
    evenly. A text whose first line has a `=` holds AdvancedLivePortrait's commands, see `read_commands`. Raises
    InputError for another line, for an expression that the list does not hold, and for keyframes out of order.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise InputError("the timeline is empty: write a line frame: expression, such as 24: 1, for each keyframe")
    found = read_commands(text, expressions) if "=" in lines[0] else _keyframes(lines, expressions)
    if not 0 < found.frames <= MOST_FRAMES:
        raise InputError(f"the timeline has {found.frames} frames: write one of 1 to {MOST_FRAMES:,}")
    return found


def _keyframes(lines: Sequence[str], expressions: Sequence[Expression]) -> Timeline:
    keys = tuple(_key(line, expressions) for line in lines)
    if keys[0].frame:
        keys = (ExpressionKey(0, Expression.none()), *keys)
    return Timeline(keys, keys[-1].frame + 1)


def _key(line: str, expressions: Sequence[Expression]) -> ExpressionKey:
    found = _KEY.fullmatch(line)
    if not found:
        raise InputError(f"a keyframe is frame: expression, such as 24: 1 or 24: 1 x 0.5, got {line!r:.60}: correct it")
    number, strength = int(found[2]), float(found[3] or 1)
    if number > len(expressions):
        raise InputError(f"keyframe {line!r} needs expression {number}, but there are {len(expressions)}: add it")
    own = expressions[number - 1] if number else Expression.none()
    return ExpressionKey(int(found[1]), own * strength)
