"""Motion editing: mixing weights, lengths, valid flags, cuts, edits over a range."""

import pytest
import torch

from personalive_core.errors import InputError
from personalive_core.motion.editing import Edit, cut, edit, mix, range_weights
from personalive_core.motion.types import HeadPose, HybridMotion
from tests.motion import samples


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


# --- edits


EVEN = torch.arange(11) * 40_000_000  # ten frames at 25 a second
VARYING = torch.tensor([0, 100, 200, 1000, 1100, 3000]) * 10**6 + 7 * 10**9  # five frames, from 7 s on


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, [1] * 10),
        ({"ramp": 3}, [1] * 10),
        ({"start": 2, "end": 5}, [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]),
        ({"start": 7}, [0] * 7 + [1] * 3),
        ({"start": 8, "end": 99}, [0] * 8 + [1] * 2),
        ({"start": 2, "end": 9, "ramp": 1}, [0, 0, 0.5, 1, 1, 1, 1, 1, 0.5, 0]),
        ({"start": 1, "ramp": 3}, [0, 0.15625, 0.5, 0.84375, 1, 1, 1, 1, 1, 1]),
        ({"end": 3, "ramp": 1}, [1, 1, 0.5, 0, 0, 0, 0, 0, 0, 0]),
        ({"start": 4, "end": 5, "ramp": 1}, [0, 0, 0, 0, 0.5, 0, 0, 0, 0, 0]),
        ({"start": 0.08, "end": 0.2, "unit": "seconds"}, [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]),
        ({"start": 0.05, "unit": "seconds"}, [0, 0] + [1] * 8),
        ({"start": 1.5, "end": 3.5}, [0, 0, 1, 1, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_weights_of_a_range(wanted, expected):
    """Smoothstep of 1/4, 1/2, 3/4 is 0.15625, 0.5, 0.84375."""
    assert range_weights(EVEN, **wanted).tolist() == expected


def test_seconds_go_by_the_motions_own_times():
    assert range_weights(VARYING, 0.2, 1.1, "seconds").tolist() == [0, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"unit": "hours"}, "unknown unit 'hours': use frames or seconds"),
        ({"ramp": -1}, "must not be negative"),
        ({"start": -0.1}, "must not be negative"),
        ({"end": float("inf")}, "must not be negative"),
        ({"start": 10}, "from 10 to 0 frames holds none of the motion's 10 frames: choose an earlier start"),
        ({"start": 4, "end": 4}, "holds none"),
        ({"start": 0.41, "unit": "seconds"}, "from 0.41 to 0 seconds holds none"),
    ],
)
def test_ranges_that_hold_nothing(wanted, message):
    with pytest.raises(InputError, match=message):
        range_weights(EVEN, **wanted)


def edited(change, weights=(0, 0.5, 1), valid=None):
    """A motion of three frames with values 1, 2, 3, edited."""
    return edit(motion(3, 1, valid), Edit(**change), torch.tensor(weights, dtype=torch.float32))


@pytest.mark.parametrize(
    ("change", "angles"),
    [
        ({"pitch": 10}, [[1, 1, 1], [7, 2, 2], [13, 3, 3]]),
        ({"yaw": -10}, [[1, 1, 1], [2, -3, 2], [3, -7, 3]]),
        ({"roll": 4}, [[1, 1, 1], [2, 2, 4], [3, 3, 7]]),
        ({"pitch_scale": 2}, [[1, 1, 1], [3, 2, 2], [6, 3, 3]]),
        ({"yaw_scale": 0}, [[1, 1, 1], [2, 1, 2], [3, 0, 3]]),
        ({"roll_scale": 3, "roll": 1}, [[1, 1, 1], [2, 2, 4.5], [3, 3, 10]]),
    ],
)
def test_angles_are_scaled_and_then_shifted(change, angles):
    after, before = edited(change), motion(3, 1)
    assert after.pose.angles.tolist() == angles
    for name in ("embedding", "keypoints", "box", "valid"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    assert torch.equal(after.pose.translation, before.pose.translation)
    assert torch.equal(after.pose.scale, before.pose.scale)


def test_translation_is_scaled_from_the_first_frame_and_then_shifted():
    assert edited({"x": 0.5, "y": -1}).pose.translation.tolist() == [[1, 1, 1], [2.25, 1.5, 2], [3.5, 2, 3]]
    assert edited({"movement": 0}, [1, 1, 1]).pose.translation[:, :2].tolist() == [[1, 1]] * 3
    assert edited({"movement": 2, "x": 1}, [1, 1, 1]).pose.translation[:, :2].tolist() == [[2, 1], [4, 3], [6, 5]]


def test_size_is_a_factor():
    assert edited({"size": 1.5}).pose.scale[:, 0].tolist() == [1, 2.5, 4.5]


@pytest.mark.parametrize(
    ("factor", "valid", "expected"),
    [
        (0, None, [1, 2, 2]),  # frozen in the mean of 1, 2, 3
        (2, None, [1, 2, 4]),
        (0, [False, True, True], [1, 2.25, 2.5]),  # the mean of 2, 3
        (0, [False] * 3, [1, 2, 2]),
    ],
)
def test_the_expression_is_scaled_from_the_mean_of_frames_with_a_face(factor, valid, expected):
    assert expression_of(edited({"expression": factor}, valid=valid)) == expected


def test_scale_0_freezes_and_1_keeps_to_the_bit():
    moved = samples.motion(9)
    frozen = edit(moved, Edit(expression=0), torch.ones(9)).embedding
    assert bool((frozen == frozen[:1]).all())
    assert torch.equal(edit(moved, Edit(), torch.ones(9)).embedding, moved.embedding)


@pytest.mark.parametrize("change", [{"yaw": float("nan")}, {"x": float("inf")}, {"size": 0}, {"size": -1}])
def test_edits_that_are_no_numbers(change):
    (name,) = change
    with pytest.raises(InputError, match=f"^{name} is .*: give a number"):
        Edit(**change)
