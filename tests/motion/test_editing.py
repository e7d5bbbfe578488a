"""Motion editing: mixing weights, lengths, valid flags, cuts."""

import pytest
import torch

from personalive_core.errors import InputError
from personalive_core.motion.editing import cut, mix
from personalive_core.motion.types import HeadPose, HybridMotion


def motion(frames, value, valid=None):
    """Every number is `value` plus the frame's index."""
    column = value + torch.arange(frames, dtype=torch.float32)[:, None]
    pose = HeadPose(column.expand(-1, 3), column.expand(-1, 3), column)
    flags = torch.ones(frames, dtype=torch.bool) if valid is None else torch.tensor(valid)
    plane = column[..., None]
    return HybridMotion(plane.expand(-1, 32, 16), plane.expand(-1, 21, 3), pose, column.expand(-1, 4), flags)


def head_of(mixed):
    """The value of everything that goes by `head`, after making sure that it is one."""
    parts = [mixed.keypoints.flatten(1), mixed.pose.angles, mixed.pose.translation, mixed.pose.scale, mixed.box]
    values = torch.cat(parts, 1)
    torch.testing.assert_close(values, values[:, :1].expand_as(values))
    return values[:, 0].tolist()


def expression_of(mixed):
    assert bool((mixed.embedding == mixed.embedding[:, :1, :1]).all())
    return mixed.embedding[:, 0, 0].tolist()


@pytest.mark.parametrize(("head", "expression"), [(0, 1), (1, 0), (0.25, 0.75), (0, 0), (1, 1)])
def test_head_and_expression_mix_apart(head, expression):
    mixed = mix(motion(3, 0), motion(3, 100), head, expression, "shorter")
    assert head_of(mixed) == pytest.approx([100 * head + i for i in range(3)])
    assert expression_of(mixed) == pytest.approx([100 * expression + i for i in range(3)])


@pytest.mark.parametrize("swapped", [False, True])
def test_lengths(swapped):
    """The shorter one ends the mix, or holds its last frame."""
    a, b = motion(5, 0), motion(2, 100)
    weight = 0.5
    if swapped:
        a, b = b, a
    assert head_of(mix(a, b, weight, weight, "shorter")) == [50, 51]
    assert head_of(mix(a, b, weight, weight, "longer")) == [50, 51, 51.5, 52, 52.5]
    assert expression_of(mix(a, b, weight, weight, "longer")) == [50, 51, 51.5, 52, 52.5]


@pytest.mark.parametrize("swapped", [False, True])
def test_frames_are_valid_if_both_are_and_then_if_the_longer_is(swapped):
    pair = [motion(5, 0, [True, False, True, True, False]), motion(3, 0, [True, True, False])]
    a, b = reversed(pair) if swapped else pair
    assert mix(a, b, 0.5, 0.5, "longer").valid.tolist() == [True, False, False, True, False]
    assert mix(a, b, 0.5, 0.5, "shorter").valid.tolist() == [True, False, False]


def test_inputs_are_left_alone():
    a, b = motion(3, 0), motion(4, 7)
    mixed = mix(a, b, 0, 0, "longer")
    mixed.embedding.add_(1)
    mixed.valid.logical_not_()
    assert expression_of(a) == [0, 1, 2]
    assert bool(a.valid.all())
    assert expression_of(b) == [7, 8, 9, 10]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": "both"}, "unknown length 'both': use one of shorter, longer"),
        ({"head": 1.5}, "head must lie from 0"),
        ({"expression": -0.1}, "expression must lie from 0"),
        ({"expression": float("nan")}, "expression must lie from 0"),
        ({"a": motion(0, 0)}, "without frames"),
        ({"b": motion(0, 0)}, "without frames"),
    ],
)
def test_what_cannot_be_mixed(change, message):
    usual = {"a": motion(2, 0), "b": motion(2, 1), "head": 0.5, "expression": 0.5, "length": "shorter"}
    with pytest.raises(InputError, match=message):
        mix(**{**usual, **change})


@pytest.mark.parametrize(
    ("start", "count", "expected"),
    [(0, None, [0, 1, 2, 3, 4]), (3, None, [3, 4]), (1, 2, [1, 2]), (3, 10, [3, 4]), (4, 1, [4])],
)
def test_cut(start, count, expected):
    assert head_of(cut(motion(5, 0), start, count)) == expected


@pytest.mark.parametrize(
    ("frames", "start", "count", "message"),
    [
        (5, 5, None, "start is frame 5, but the motion has 5 frames"),
        (5, -1, None, "start is frame -1"),
        (5, 0, 0, "count must be at least 1"),
        (0, 0, None, "has 0 frames"),
    ],
)
def test_what_cannot_be_cut(frames, start, count, message):
    with pytest.raises(InputError, match=message):
        cut(motion(frames, 0), start, count)
