"""Edited motion: keypoints follow the pose, so that the animated head turns by what was asked for."""

from dataclasses import replace

import pytest
import torch

from personalive_core.backends.personalive.editing import edit_driving, edit_fitted
from personalive_core.backends.personalive.motion import Strengths, fit, lead_in
from personalive_core.backends.personalive.types import Reference
from personalive_core.modules.keypoints import pose_keypoints
from personalive_core.motion.editing import Edit, range_weights
from tests.motion.samples import motion

FRAMES, LEAD = 8, 12
ALL = torch.ones(FRAMES)
EVERY = Edit(10, -5, 3, 0.5, 2, 1.5, 0.1, -0.2, 0.7, 1.3, 0.5)
CLOSE = {"atol": 1e-4, "rtol": 1e-4}


@pytest.fixture
def reference():
    own = motion(1, seed=99)
    canonical = 0.3 * torch.randn(21, 3, generator=torch.Generator().manual_seed(98))
    own = replace(own, keypoints=pose_keypoints(canonical, own.pose))
    return Reference(torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 768), (), (), own, canonical)


@pytest.fixture
def driving():
    """Driving motion whose keypoints are canonical ones, another set in each frame, in its pose."""
    drawn = motion(FRAMES, seed=3)
    return replace(drawn, keypoints=pose_keypoints(drawn.keypoints, drawn.pose))


def angles_of(keypoints, canonical):
    """Pitch, yaw, roll [F, 3] in degrees of posed keypoints, read from the points alone: s (x R) + t, solved for R."""
    centred = keypoints - keypoints.mean(1, keepdim=True)
    turn = torch.linalg.lstsq((canonical - canonical.mean(0)).expand_as(centred), centred).solution
    turn = turn / turn.norm(dim=2, keepdim=True)
    # rows are where x, y, z point: with columns for vectors this is Rz Ry Rx
    pitch, yaw = torch.atan2(turn[:, 1, 2], turn[:, 2, 2]), -torch.asin(turn[:, 0, 2])
    return torch.rad2deg(torch.stack([pitch, yaw, torch.atan2(turn[:, 0, 1], turn[:, 0, 0])], 1))


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(("name", "column"), [("pitch", 0), ("yaw", 1), ("roll", 2)])
def test_ten_degrees_turn_the_animated_head_by_ten(reference, driving, place, name, column):
    change, plain = Edit(**{name: 10.0}), fit(driving, reference, LEAD)
    if place == "before":
        edited = fit(edit_driving(driving, change, ALL), reference, LEAD)
    else:
        edited = edit_fitted(plain, reference.canonical, change, ALL)
    turned, still = (angles_of(m.motion[LEAD:].keypoints, reference.canonical) for m in (edited, plain))
    expected = torch.zeros(3)
    expected[column] = 10
    torch.testing.assert_close(turned - still, expected.expand(FRAMES, 3), atol=1e-2, rtol=0)


def test_fitted_motion_moves_and_grows_by_what_is_asked(reference, driving):
    """Whatever the strengths were: the published ones take over no size, and half the movement."""
    plain = fit(driving, reference, LEAD).motion[LEAD:]
    edited = edit_fitted(fit(driving, reference, LEAD), reference.canonical, Edit(x=0.1, y=-0.2, size=1.5), ALL)
    shift = torch.tensor([0.1, -0.2, 0])
    own = torch.cat([plain.pose.translation[:, :2], torch.zeros(FRAMES, 1)], 1)[:, None]
    torch.testing.assert_close(edited.motion[LEAD:].keypoints, 1.5 * (plain.keypoints - own) + own + shift, **CLOSE)


@pytest.mark.parametrize("expression", [0.0, 0.5, 2.0])
def test_expression_and_turns_may_be_edited_before_or_after_fitting(reference, driving, expression):
    change, strengths = Edit(yaw=7, pitch_scale=0.5, movement=0, expression=expression), Strengths(expression=0.6)
    weights = range_weights(torch.arange(FRAMES + 1), 1, 6, ramp=1)
    before = fit(edit_driving(driving, change, weights), reference, LEAD, strengths).motion
    after = edit_fitted(fit(driving, reference, LEAD, strengths), reference.canonical, change, weights).motion
    for name in ("keypoints", "embedding"):
        torch.testing.assert_close(getattr(before, name), getattr(after, name), **CLOSE)


def test_driving_keypoints_are_its_canonical_ones_in_the_new_pose(driving):
    canonical = motion(FRAMES, seed=3).keypoints
    edited = edit_driving(driving, EVERY, 0.5 * ALL)
    torch.testing.assert_close(edited.keypoints, pose_keypoints(canonical, edited.pose), **CLOSE)


def test_the_lead_in_leads_to_the_edited_first_frame(reference, driving):
    fitted = fit(driving, reference, LEAD)
    edited = edit_fitted(fitted, reference.canonical, EVERY, ALL)
    expected = lead_in(reference, edited.motion[LEAD : LEAD + 1], LEAD)
    assert len(edited) == FRAMES
    torch.testing.assert_close(edited.motion[:LEAD].keypoints, expected.keypoints, **CLOSE)
    torch.testing.assert_close(edited.motion[:LEAD].embedding, expected.embedding, **CLOSE)
    without = edit_fitted(fit(driving, reference, 0), reference.canonical, EVERY, ALL)
    assert torch.equal(without.motion.keypoints, edited.motion[LEAD:].keypoints)


def test_frames_outside_the_range_stay_to_the_bit(reference, driving):
    weights = range_weights(torch.arange(FRAMES + 1), 3, 6, ramp=1)
    fitted = fit(driving, reference, LEAD)
    after = edit_fitted(fitted, reference.canonical, EVERY, weights).motion
    changed = edit_driving(driving, EVERY, weights)
    for name in ("keypoints", "embedding", "box", "valid"):
        for old, new, first in ((fitted.motion, after, LEAD), (driving, changed, 0)):
            assert torch.equal(getattr(old, name)[: first + 3], getattr(new, name)[: first + 3])
            assert torch.equal(getattr(old, name)[first + 6 :], getattr(new, name)[first + 6 :])
    assert bool((after.keypoints[LEAD + 3 : LEAD + 6] != fitted.motion.keypoints[LEAD + 3 : LEAD + 6]).any())
