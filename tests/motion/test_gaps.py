"""Motion: face boxes and crops, retargeting, the lead-in, frames without a face, windows."""

import math
import weakref
from dataclasses import replace

import pytest
import torch

from personalive_core.backends.personalive.motion import Strengths, crop_faces, face_boxes, is_face, lead_in, retarget
from personalive_core.backends.personalive.types import Reference
from personalive_core.errors import FaceError, InputError
from personalive_core.modules.keypoints import pose_keypoints, rotation_matrix
from personalive_core.modules.pose_guider import DRAWN, canvas_points, draw_keypoints
from personalive_core.motion.gaps import fill_missing, gather, in_windows
from personalive_core.motion.types import HeadPose, HybridMotion, concat


def motion(frames, seed=0, valid=None):
    """Random motion, every frame different."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(frames, *shape, generator=generator)

    pose = HeadPose(20 * draw(3), 0.1 * draw(3), 1 + 0.1 * draw(1))
    flags = torch.ones(frames, dtype=torch.bool) if valid is None else torch.tensor(valid)
    return HybridMotion(draw(32, 16), draw(21, 3), pose, 100 * draw(4).abs(), flags)


def same(one, other):
    parts = ("embedding", "keypoints", "box", "valid")
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in parts) and same_pose(
        one.pose, other.pose
    )


def same_pose(one, other):
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("angles", "translation", "scale"))


@pytest.fixture
def reference():
    own = motion(1, seed=99)
    canonical = 0.3 * torch.randn(21, 3, generator=torch.Generator().manual_seed(98))
    own = replace(own, keypoints=pose_keypoints(canonical, own.pose))
    return Reference(torch.zeros(1, 4, 8, 8), torch.zeros(1, 1, 768), (), (), own, canonical)


# --- rotation


def turn(pitch, yaw, roll):
    return rotation_matrix(torch.tensor([[pitch, yaw, roll]]).float())[0]


def test_each_angle_turns_about_its_axis():
    x, y, z = torch.eye(3)
    close = torch.testing.assert_close
    close(y @ turn(90, 0, 0), z, atol=1e-6, rtol=0)
    close(z @ turn(0, 90, 0), x, atol=1e-6, rtol=0)
    close(x @ turn(0, 0, 90), y, atol=1e-6, rtol=0)


def test_pitch_then_yaw_then_roll():
    torch.testing.assert_close(turn(10, 30, -15), turn(10, 0, 0) @ turn(0, 30, 0) @ turn(0, 0, -15))
    # by hand: 90 degrees each take y to z (pitch), z to x (yaw), x to y (roll); any other order takes y elsewhere
    torch.testing.assert_close(torch.eye(3)[1] @ turn(90, 90, 90), torch.eye(3)[1], atol=1e-6, rtol=0)
    torch.testing.assert_close(torch.eye(3)[0] @ turn(90, 90, 0), -torch.eye(3)[2], atol=1e-6, rtol=0)


def test_posing_scales_turns_and_moves_in_the_picture_plane():
    canonical = torch.tensor([[[0.0, 1.0, 0.0]]])
    pose = HeadPose(torch.tensor([[90.0, 0, 0]]), torch.tensor([[0.1, 0.2, 0.7]]), torch.tensor([[2.0]]))
    torch.testing.assert_close(pose_keypoints(canonical, pose), torch.tensor([[[0.1, 0.2, 2.0]]]))


# --- drawing


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


# --- face boxes


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


# --- retargeting


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


# --- frames without a face


def filled(flags, policy, piece=7, **more):
    """The driving with these flags, and what the policy makes of it."""
    driving = motion(len(flags), valid=flags)
    pieces = (driving[i : i + piece] for i in range(0, len(flags), piece))
    return driving, concat(list(fill_missing(pieces, policy, **more)))


GAPS = [True, False, False, True]


@pytest.mark.parametrize("piece", [1, 2, 7])
@pytest.mark.parametrize("policy", ["hold", "interpolate", "neutral"])
def test_as_many_frames_as_came_and_their_flags(policy, piece):
    flags = [False, *GAPS, False, True, False, False]
    driving, found = filled(flags, policy, piece, neutral=motion(1, seed=5))
    assert found.valid.tolist() == flags
    assert torch.equal(found.embedding[found.valid], driving.embedding[driving.valid])
    assert same_pose(
        HeadPose(*(getattr(found.pose, n)[found.valid] for n in ("angles", "translation", "scale"))),
        HeadPose(*(getattr(driving.pose, n)[driving.valid] for n in ("angles", "translation", "scale"))),
    )


def test_hold_repeats_the_last_face_and_before_it_the_first():
    driving, found = filled([False, False, True, False, True, False], "hold")
    for frame, source in enumerate([2, 2, 2, 2, 4, 4]):
        assert torch.equal(found.embedding[frame], driving.embedding[source])
        assert torch.equal(found.pose.angles[frame], driving.pose.angles[source])
        assert torch.equal(found.box[frame], driving.box[source])


def test_interpolate_goes_evenly_between_the_faces_around():
    driving, found = filled(GAPS, "interpolate")
    for part in (lambda m: m.embedding, lambda m: m.pose.angles, lambda m: m.pose.scale, lambda m: m.box):
        before, after = part(driving)[0], part(driving)[3]
        torch.testing.assert_close(part(found)[1], (2 * before + after) / 3)
        torch.testing.assert_close(part(found)[2], (before + 2 * after) / 3)


@pytest.mark.parametrize(("flags", "source"), [([False, False, True], 2), ([True, False, False], 0)])
def test_interpolate_holds_where_one_side_is_open(flags, source):
    driving, found = filled(flags, "interpolate")
    for frame in range(3):
        torch.testing.assert_close(found.embedding[frame], driving.embedding[source])


def test_neutral_takes_the_references_own_motion():
    neutral = motion(1, seed=5)
    _, found = filled([False, *GAPS], "neutral", neutral=neutral)
    for frame in (0, 2, 3):
        assert torch.equal(found.embedding[frame], neutral.embedding[0])
        assert torch.equal(found.pose.angles[frame], neutral.pose.angles[0])


def test_error_names_the_frame():
    with pytest.raises(FaceError, match="no face in driving frame 9: "):
        filled([True] * 9 + [False], "error", piece=4)


@pytest.mark.parametrize("policy", ["hold", "interpolate", "neutral"])
def test_no_face_in_any_frame(policy):
    with pytest.raises(FaceError, match="no face in any of the 6 driving frames"):
        filled([False] * 6, policy, neutral=motion(1))


def test_unknown_policy():
    with pytest.raises(InputError, match="'skip': use one of hold, interpolate, neutral, error"):
        filled([True], "skip")


@pytest.mark.parametrize("policy", ["hold", "interpolate"])
def test_three_faces_in_twenty_frames(policy):
    flags = [i in (4, 11, 12) for i in range(20)]
    _, found = filled(flags, policy, piece=4)
    assert len(found) == 20
    assert found.valid.tolist() == flags
    assert found.embedding.isfinite().all()


def test_held_frames_come_at_once():
    """A live stream cannot wait for the next face."""
    driving = motion(3, valid=[True, False, True])
    out = fill_missing((driving[i : i + 1] for i in range(2)), "hold")
    assert bool(next(out).valid)
    assert not bool(next(out).valid)


# --- windows and values


@pytest.mark.parametrize("pieces", [[10], [1] * 10, [3, 4, 2, 1], [0, 7, 0, 3]])
def test_windows_hold_the_same_frames(pieces):
    driving, first, parts = motion(10), 0, []
    for count in pieces:
        parts.append(driving[first : first + count])
        first += count
    windows = list(in_windows(parts, 4))
    assert [len(window) for window in windows] == [4, 4, 2]
    assert same(concat(windows), driving)


@pytest.mark.parametrize("frames", [1, 6, 7])
def test_gathered_motion_is_all_of_it_and_keeps_no_more_pieces_than_a_block(frames):
    whole, kept = motion(frames), []

    def pieces():
        for row in range(frames):
            assert sum(piece() is not None for piece in kept) <= 3  # of one block, or the last still at hand
            piece = whole[row : row + 1]
            kept.append(weakref.ref(piece))
            yield piece
            del piece

    assert same(gather(pieces(), block=3), whole)


def test_no_windows_of_no_frames():
    assert list(in_windows([], 4)) == []
    assert [len(window) for window in in_windows([motion(8)], 4)] == [4, 4]


def test_motion_is_small():
    one = motion(1)
    parts = [one.embedding, one.keypoints, one.pose.angles, one.pose.translation, one.pose.scale, one.box, one.valid]
    assert sum(part.nbytes for part in parts) < 2400


def test_motion_is_indexed_by_slices():
    assert same(motion(5)[1:3], concat([motion(5)[1:2], motion(5)[2:3]]))
    with pytest.raises(TypeError, match="slice"):
        motion(5)[2]
