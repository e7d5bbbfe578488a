"""Faces found, given by hand and followed: what places the crop, and what happens where a face is lost."""

import numpy as np
import pytest

from personalive_core.backends.liveportrait.crops import SOURCE_CROP, CropRule, face_square
from personalive_core.backends.liveportrait.finding import (
    Finder,
    FollowState,
    detected_face,
    face_at_points,
    face_in_box,
    find_face,
    follow_face,
    rule_for,
)
from personalive_core.faces.crop import Box, Face
from personalive_core.faces.tracking import TrackOptions

PICTURE = np.zeros((300, 400, 3), np.uint8)
# A frontal face of average proportions about the point between its pupils, which are 1 apart; y points down.
PUPILS, MOUTH, BROWS, HAIR, CHIN, HALF = 0.5, 1.06, -0.43, -1.16, 1.85, 1.15


def five(x, y, size):
    points = [(-PUPILS, 0), (PUPILS, 0), (0, 0.55), (-0.35, MOUTH), (0.35, MOUTH)]
    return size * np.array(points, np.float32) + (x, y)


def full(x, y, size):
    """203 points of the same face: as far as the crop goes, only extents and the axis count."""
    points = np.zeros((203, 2), np.float32)
    points[0:24] = (-PUPILS, 0)
    points[24:48] = (PUPILS, 0)
    points[48:108] = (0, MOUTH)
    points[108:160] = np.stack([np.linspace(-HALF, HALF, 52), np.full(52, BROWS)], 1)
    points[160:] = (0, CHIN)
    return (size * points + (x, y)).astype(np.float32)


def face_of(x, y, size, score=1.0):
    box = Box(x - size * HALF, y + size * HAIR, x + size * HALF, y + size * CHIN)
    return Face(box, score, tuple((float(a), float(b)) for a, b in five(x, y, size)))


class Network:
    """A landmark network that sees the face at `place` (x, y, size), and notes what placed its picture."""

    def __init__(self, place=(200, 120, 40)):
        self.place, self.given = place, []

    def __call__(self, _, points):
        self.given.append(len(points))
        return full(*self.place)


def test_five_points_are_cropped_like_all_of_them():
    by_all = face_square(full(200, 120, 40), SOURCE_CROP)
    by_five = face_square(five(200, 120, 40), rule_for(SOURCE_CROP, five(200, 120, 40)))
    assert by_five.size == pytest.approx(by_all.size, rel=0.03)
    assert by_five.centre == pytest.approx(by_all.centre, abs=0.03 * by_all.size)
    assert by_five.angle == pytest.approx(by_all.angle, abs=1e-3)
    assert rule_for(SOURCE_CROP, full(0, 0, 1)) is SOURCE_CROP
    assert rule_for(SOURCE_CROP, np.zeros((9, 2))) is SOURCE_CROP


def test_the_users_rule_is_kept_in_proportion():
    wide, points = CropRule(2.3 * 1.5, right=0.1, down=-0.125), five(200, 120, 40)
    one, other = (face_square(points, rule_for(rule, points)) for rule in (SOURCE_CROP, wide))
    assert other.size == pytest.approx(1.5 * one.size, rel=1e-3)
    assert other.centre[0] == pytest.approx(one.centre[0] + 0.1 * other.size, rel=1e-3)


def test_a_detector_places_the_network_by_its_five_points():
    network = Network()
    found = find_face(PICTURE, lambda _: (face_of(60, 60, 10), face_of(200, 120, 40)), "largest", network)
    assert network.given == [5]
    assert np.array_equal(found.landmarks, full(200, 120, 40))
    assert found.points is found.landmarks
    assert found.box == face_of(200, 120, 40).box
    assert find_face(PICTURE, lambda _: ()) is None
    left = find_face(PICTURE, lambda _: (face_of(60, 60, 10), face_of(200, 120, 40)), "left")
    assert left.landmarks is None
    assert np.allclose(left.points, five(60, 60, 10))


def test_landmarks_elsewhere_are_not_taken():
    for place in ((320, 120, 40), (200, 120, 5), (200, 120, 200)):
        found = detected_face(PICTURE, face_of(200, 120, 40), Network(place))
        assert found.landmarks is None
        assert len(found.points) == 5


def test_a_box_by_hand_gives_about_the_face_in_it():
    face = face_of(200, 120, 40)
    found = face_in_box(PICTURE, face.box)
    assert np.abs(found.points - five(200, 120, 40)).max() < 0.2 * 40
    assert face_in_box(PICTURE, face.box, Network()).landmarks is not None


def test_nine_points_by_hand_are_an_animals_face():
    points = np.array([[60, 40], [50, 40], [30, 40], [20, 40], [40, 50], [30, 60], [50, 60], [40, 58], [40, 64]])
    found = face_at_points(points)
    assert found.box == Box(20, 40, 60, 64)
    assert found.landmarks is None
    assert face_square(found.points, SOURCE_CROP).size == pytest.approx(2.3 * 40)


def walk(finder, frames):
    state, found = FollowState(), []
    for frame in frames:
        state, one = follow_face(state, frame, finder)
        found.append(one)
    return found


def test_landmarks_of_the_frame_before_place_the_next():
    network = Network()
    finder = Finder(lambda _: (face_of(*network.place),), network)
    found = walk(finder, [PICTURE] * 3)
    assert network.given == [5, 203, 203]
    assert all(np.array_equal(one.landmarks, full(*network.place)) for one in found)


def test_a_lost_face_is_looked_for_anew():
    network = Network()
    seen = iter([(face_of(*network.place),), (), (face_of(*network.place),)])
    found = walk(Finder(lambda _: next(seen), network), [PICTURE] * 3)
    assert [one is not None for one in found] == [True, False, True]
    assert network.given == [5, 5]


def test_a_face_that_jumps_is_placed_by_the_detector():
    network, places = Network(), iter([(100, 120, 40), (300, 120, 40)])

    def detector(_):
        network.place = next(places)
        return (face_of(*network.place),)

    options = TrackOptions(reach=9)
    found = walk(Finder(detector, network, options), [PICTURE] * 2)
    assert network.given == [5, 5]
    assert np.array_equal(found[1].landmarks, full(300, 120, 40))


def test_a_box_by_hand_is_followed_by_landmarks():
    network = Network()
    finder = Finder(None, network, TrackOptions(manual=face_of(200, 120, 40).box))
    state, _ = follow_face(FollowState(), PICTURE, finder)
    network.place = (230, 130, 42)
    state, found = follow_face(state, PICTURE, finder)
    assert network.given == [5, 203]
    assert found.box.centre[0] == pytest.approx(230, abs=1)
    network.place = (230, 130, 90)  # twice as large at once: it slipped off, and is looked for where it began
    state, found = follow_face(state, PICTURE, finder)
    assert network.given == [5, 203, 203, 5]
    assert walk(Finder(None, None, finder.track), [PICTURE] * 2)[1].box == finder.track.manual


def test_without_detector_and_box_nothing_is_looked_for():
    assert not Finder().looks
    assert walk(Finder(None, Network()), [PICTURE] * 2) == [None, None]
