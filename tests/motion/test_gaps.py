"""Frames without a face filled, motion joined and cut into windows."""

import weakref

import pytest
import torch

from personalive_core.errors import FaceError, InputError
from personalive_core.modules.keypoints import rotation_matrix
from personalive_core.motion.gaps import fill_missing, in_windows
from personalive_core.motion.types import HeadPose, concat_motion
from tests.motion.samples import motion


def same(one, other):
    parts = ("embedding", "keypoints", "box", "valid")
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in parts) and same_pose(
        one.pose, other.pose
    )


def same_pose(one, other):
    return all(torch.equal(getattr(one, part), getattr(other, part)) for part in ("angles", "translation", "scale"))


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


def filled(flags, policy, piece=7, **more):
    """The driving with these flags, and what the policy makes of it."""
    driving = motion(len(flags), valid=flags)
    pieces = (driving[i : i + piece] for i in range(0, len(flags), piece))
    return driving, concat_motion(list(fill_missing(pieces, policy, **more)))


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


@pytest.mark.parametrize("pieces", [[10], [1] * 10, [3, 4, 2, 1], [0, 7, 0, 3]])
def test_windows_hold_the_same_frames(pieces):
    driving, first, parts = motion(10), 0, []
    for count in pieces:
        parts.append(driving[first : first + count])
        first += count
    windows = list(in_windows(parts, 4))
    assert [len(window) for window in windows] == [4, 4, 2]
    assert same(concat_motion(windows), driving)


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

    assert same(concat_motion(pieces(), block=3), whole)


def test_no_motion_is_refused():
    with pytest.raises(InputError, match="no motion to join: give at least one frame"):
        concat_motion([])


def test_no_windows_of_no_frames():
    assert list(in_windows([], 4)) == []
    assert [len(window) for window in in_windows([motion(8)], 4)] == [4, 4]


def test_motion_is_small():
    one = motion(1)
    parts = [one.embedding, one.keypoints, one.pose.angles, one.pose.translation, one.pose.scale, one.box, one.valid]
    assert sum(part.nbytes for part in parts) < 2400


def test_motion_is_indexed_by_slices():
    assert same(motion(5)[1:3], concat_motion([motion(5)[1:2], motion(5)[2:3]]))
    with pytest.raises(TypeError, match="slice"):
        motion(5)[2]
