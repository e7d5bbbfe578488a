"""Moments between captured frames: evenly spaced, interpolated, and the captured ones themselves where these fall."""

import numpy as np
import pytest
import torch

from personalive_core.live.quick import FittedMoment, evenly
from personalive_core.modules.keypoints import pose_keypoints
from personalive_core.motion.types import HeadPose, HybridMotion

CANONICAL = torch.linspace(-0.5, 0.5, 63).view(21, 3)


def moment(number, time, value, valid=True):
    """All of its numbers are `value`."""
    pose = HeadPose(torch.full((1, 3), value), torch.full((1, 3), value), torch.full((1, 1), value))
    keypoints = pose_keypoints(CANONICAL, pose)
    motion = HybridMotion(
        torch.full((1, 32, 16), value), keypoints, pose, torch.full((1, 4), value), torch.tensor([valid])
    )
    return FittedMoment(motion, number, time)


def values(moments):
    return [float(one.motion.embedding[0, 0, 0]) for one in moments]


def test_between_two_frames():
    found = evenly(moment(0, 1.0, 0.0), [moment(1, 1.08, 8.0)], 4, CANONICAL)
    np.testing.assert_allclose([one.time for one in found], [1.02, 1.04, 1.06, 1.08])
    np.testing.assert_allclose(values(found), [2, 4, 6, 8], rtol=1e-5)
    assert [one.number for one in found] == [1, 1, 1, 1]
    for one in found:
        torch.testing.assert_close(one.motion.keypoints, pose_keypoints(CANONICAL, one.motion.pose))
        assert len(one.motion) == 1


def test_uneven_frames_give_even_moments():
    frames = [moment(1, 0.1, 10.0), moment(4, 0.4, 40.0)]
    found = evenly(moment(0, 0.0, 0.0), frames, 4, CANONICAL)
    np.testing.assert_allclose(np.diff([one.time for one in found]), 0.1)
    np.testing.assert_allclose(values(found), [10, 20, 30, 40], rtol=1e-5)
    assert [one.number for one in found] == [1, 4, 4, 4]


def test_frames_on_the_grid_are_taken_as_they_are():
    frames = [moment(k, 7 + k / 25, float(k)) for k in range(1, 5)]
    assert list(evenly(moment(0, 7.0, 0.0), frames, 4, CANONICAL)) == frames


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_as_many_as_asked_for_the_last_being_the_newest(count):
    frames = [moment(1, 0.03, 3.0), moment(2, 0.08, 8.0)]
    found = evenly(moment(0, 0.0, 0.0), frames, count, CANONICAL)
    assert len(found) == count
    assert found[-1] is frames[-1]


def test_the_first_frames_of_all():
    alone = evenly(None, [moment(0, 3.0, 5.0)], 4, CANONICAL)
    assert values(alone) == [5.0] * 4
    np.testing.assert_allclose([one.time for one in alone], [2.97, 2.98, 2.99, 3.0])
    two = evenly(None, [moment(0, 3.0, 0.0), moment(1, 3.1, 10.0)], 4, CANONICAL)
    np.testing.assert_allclose([one.time for one in two], [2.95, 3.0, 3.05, 3.1])
    np.testing.assert_allclose(values(two), [0, 0, 5, 10], atol=1e-5)


@pytest.mark.parametrize("before", [-60.0, 9.0], ids=["a long pause", "a clock that began anew"])
def test_no_motion_across_a_break(before):
    found = evenly(moment(0, before, 0.0), [moment(1, 3.0, 5.0), moment(2, 3.1, 5.0)], 4, CANONICAL)
    assert values(found) == pytest.approx([5.0] * 4)
    assert found[0].time > 2.8


def test_a_moment_is_as_valid_as_the_frame_after_it():
    frames = [moment(1, 0.04, 1.0, valid=False), moment(2, 0.08, 2.0)]
    found = evenly(moment(0, 0.0, 0.0), frames, 4, CANONICAL)
    assert [bool(one.motion.valid) for one in found] == [False, False, True, True]
