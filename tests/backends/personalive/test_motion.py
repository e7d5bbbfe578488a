"""PersonaLive's motion: face boxes and crops, retargeting, the lead-in."""

import math
from dataclasses import replace

import pytest
import torch

from personalive_core.backends.personalive.motion import Strengths, crop_faces, face_boxes, is_face, lead_in, retarget
from personalive_core.backends.personalive.types import Reference
from personalive_core.modules.keypoints import pose_keypoints
from personalive_core.modules.pose_guider import DRAWN, canvas_points, draw_keypoints
from personalive_core.motion.types import HeadPose
from tests.motion.samples import motion


@pytest.fixture
def reference():
    own = motion(1, seed=99)
    canonical = 0.3 * torch.randn(21, 3, generator=torch.Generator().manual_seed(98))
    own = replace(own, keypoints=pose_keypoints(canonical, own.pose))
    return Reference(torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 768), (), (), own, canonical)


def test_posing_scales_turns_and_moves_in_the_picture_plane():
    canonical = torch.tensor([[[0.0, 1.0, 0.0]]])
    pose = HeadPose(torch.tensor([[90.0, 0, 0]]), torch.tensor([[0.1, 0.2, 0.7]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(pose_keypoints(canonical, pose), torch.tensor([[[0.1, 0.2, 2.0]]]))


def keypoints_at(place, frames=1):
    """Keypoints whose drawn seven all sit at `place`; the others far outside."""
    points = torch.full((frames, 21, 3), 5.0)
    points[:, list(DRAWN), :2] = torch.tensor(place).float()
    return points


def test_seven_keypoints_in_seven_colours():
    points = torch.full((1, 21, 3), 5.0)
    for i, index in enumerate((1, 2, 3, 4, 12, 15, 20)):
        points[0, index, :2] = torch.tensor([-0.75 + 0.25 * i, 0.0])
    drawing = draw_keypoints(points, 512)[0]
    found = [(drawing[:, 256, 64 + 64 * i] * 255).round().tolist() for i in range(7)]
    red, yellow, green, cyan = [255, 0, 0], [255, 255, 0], [0, 255, 0], [0, 255, 255]
    assert found == [red, yellow, green, cyan, [0, 0, 255], [255, 0, 255], [255, 0, 85]]


@pytest.mark.parametrize(("size", "radius"), [(512, 4), (256, 2), (1024, 8)])
def test_discs_of_four_pixels_at_512(size, radius):
    """A lattice disc's own count: the radius belongs to it, its corners do not."""
    lit = (draw_keypoints(keypoints_at((0, 0)), size)[0].sum(0) > 0).nonzero()
    count = sum(x * x + y * y <= radius**2 for x in range(-radius, radius + 1) for y in range(-radius, radius + 1))
    assert len(lit) == count
    assert lit.float().mean(0).tolist() == [size / 2, size / 2]


def test_overlaps_add_up_and_are_clamped():
    assert draw_keypoints(keypoints_at((0, 0)), 64)[0, :, 32, 32].tolist() == [1, 1, 1]


def test_points_outside_are_not_drawn():
    assert draw_keypoints(keypoints_at((3, -3)), 64).sum() == 0


def test_box_geometry():
    """Six points on the line 35 pixels under the top one: the centre lies 30 below the top, half the side is 51."""
    points = keypoints_at((0.0, 0.0))
    points[0, list(DRAWN), 1] = 35 / 256
    points[0, DRAWN[0], 1] = 0
    assert canvas_points(points, 512)[0, :, 1].tolist() == [256, *[291] * 6]
    left, top, right, bottom = face_boxes(points, 512)[0].tolist()
    half = 30 * 1.7
    assert [left, right] == [math.floor(256 - 0.95 * half), math.floor(256 + 1.05 * half)]
    assert [top, bottom] == [math.floor(286 - 0.95 * half), math.floor(286 + 1.05 * half)]


def test_boxes_stay_in_the_picture():
    points = keypoints_at((-0.95, -0.95))
    points[0, DRAWN[0], 1] = -2.0
    left, top, right, bottom = face_boxes(points, 512)[0].tolist()
    assert (left, top) == (0, 0)
    points = keypoints_at((0.99, 0.99))
    points[0, DRAWN[0], 1] = -0.99
    assert face_boxes(points, 512)[0, 2:].tolist() == [511, 511]
    assert right > left
    assert bottom >= top


@pytest.mark.parametrize(("side", "face"), [(15, False), (16, True)])
def test_smallest_face_is_a_thirty_second_of_the_picture(side, face):
    boxes = torch.tensor([[10, 10, 10 + side, 110], [10, 10, 110, 10 + side]])
    assert is_face(boxes, 512).tolist() == [face, face]


def test_crop_is_the_box_and_without_one_the_whole_picture():
    picture = torch.zeros(1, 3, 64, 64)
    picture[..., 16:48, 8:40] = 1.0
    pictures = picture.expand(3, -1, -1, -1)
    boxes = torch.tensor([[8, 16, 40, 48], [5, 5, 5, 5], [40, 16, 64, 48]])
    crops = crop_faces(pictures, boxes)
    assert crops.shape == (3, 3, 224, 224)
    torch.testing.assert_close(crops[0], torch.ones(3, 224, 224))
    torch.testing.assert_close(crops[1].mean(), torch.tensor(0.25), atol=1e-3, rtol=0)
    assert crops[2].eq(0).all()


def test_published_strengths(reference):
    """Angles and embedding the driving's, half the shift since the first frame, scale and keypoints the reference's."""
    driving = motion(5)
    first = driving.pose[:1]
    own = reference.motion.pose
    found = retarget(driving, reference, first)
    torch.testing.assert_close(found.pose.angles, driving.pose.angles)
    torch.testing.assert_close(found.embedding, driving.embedding)
    shift = driving.pose.translation - first.translation
    torch.testing.assert_close(found.pose.translation, own.translation + 0.5 * shift)
    assert torch.equal(found.pose.scale, own.scale.expand(5, -1))
    torch.testing.assert_close(found.keypoints, pose_keypoints(reference.canonical, found.pose))
    assert torch.equal(found.box, driving.box)
    assert torch.equal(found.valid, driving.valid)


def test_no_strength_leaves_the_reference(reference):
    found = retarget(motion(4), reference, motion(1, seed=3).pose, Strengths(0.0, 0.0, 0.0, 0.0))
    for frame in range(4):
        torch.testing.assert_close(found.keypoints[frame], reference.motion.keypoints[0])
        torch.testing.assert_close(found.embedding[frame], reference.motion.embedding[0])


def test_full_strength_takes_all_changes(reference):
    driving = motion(4)
    own = reference.motion.pose
    found = retarget(driving, reference, driving.pose[:1], Strengths(translation=1.0, scale=1.0))
    torch.testing.assert_close(found.pose.scale - own.scale, driving.pose.scale - driving.pose.scale[:1])
    moved = driving.pose.translation - driving.pose.translation[:1]
    torch.testing.assert_close(found.pose.translation - own.translation, moved)


def test_half_the_rotation_and_expression(reference):
    driving = motion(3)
    found = retarget(driving, reference, driving.pose[:1], Strengths(rotation=0.5, expression=0.25))
    torch.testing.assert_close(found.pose.angles, (reference.motion.pose.angles + driving.pose.angles) / 2)
    torch.testing.assert_close(found.embedding, 0.75 * reference.motion.embedding + 0.25 * driving.embedding)


def test_lead_in_goes_from_the_reference_to_one_step_before_the_first_frame(reference):
    first = retarget(motion(1), reference, motion(1).pose)
    path = lead_in(reference, first, 12)
    assert len(path) == 12
    torch.testing.assert_close(path.keypoints[0], reference.motion.keypoints[0])
    torch.testing.assert_close(path.embedding[0], reference.motion.embedding[0])
    start, end = reference.motion, first
    torch.testing.assert_close(path.embedding[-1], (start.embedding[0] + 11 * end.embedding[0]) / 12)
    torch.testing.assert_close(path.pose.angles[-1], (start.pose.angles[0] + 11 * end.pose.angles[0]) / 12)
    torch.testing.assert_close(path.keypoints, pose_keypoints(reference.canonical, path.pose))
    torch.testing.assert_close(path.pose.angles.diff(dim=0), path.pose.angles.diff(dim=0)[:1].expand(11, -1))
    assert not path.valid.any()
