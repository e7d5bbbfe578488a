"""The crop over a clip: still while it can be, smooth when it moves, and always the same person."""

import math

import numpy as np
import pytest

from personalive_core.errors import InputError
from personalive_core.faces.crop import Box, Crop, Face, portrait_crop, whole_frame
from personalive_core.faces.tracking import TrackOptions, track

FRAME = (1080, 1920)
OPTIONS = TrackOptions()


def face(x, y=540.0, side=240.0):
    return Face(Box(x - 0.4 * side, y - side / 2, x + 0.4 * side, y + side / 2), 1.0)


def play(frames, options=OPTIONS):
    """States and found flags over a clip given as one tuple of faces for each frame."""
    state, states, found = None, [], []
    for faces in frames:
        state, seen = track(state, faces, FRAME, options)
        states.append(state)
        found.append(seen)
    return states, found


def numbers(states):
    """[frames, 3] centre x, centre y, size."""
    return np.array([(*state.crop.centre, state.crop.size) for state in states])


def holds(crop, box):
    return (
        crop.left <= box.left
        and crop.top <= box.top
        and box.right <= crop.left + crop.size
        and box.bottom <= crop.top + crop.size
    )


def test_jitter_of_the_detector_moves_nothing():
    noise = np.random.default_rng(0).uniform(-0.02, 0.02, (300, 4)) * 240
    base = np.array([900, 400, 1090, 640])
    states, found = play([(Face(Box(*(base + row)), 1.0),) for row in noise])
    assert len({state.crop for state in states}) == 1
    assert all(found)


def test_a_head_that_sways_moves_nothing():
    states, _ = play([(face(960 + 35 * math.sin(t / 5), 540 + 20 * math.sin(t / 3)),) for t in range(200)])
    assert len({state.crop for state in states}) == 1


@pytest.mark.parametrize("jitter", [0.0, 0.02])
def test_a_slow_walk_keeps_the_face_in_view(jitter):
    noise = np.random.default_rng(1).uniform(-jitter, jitter, 160) * 240
    faces = [face(150 + 10 * t + noise[t]) for t in range(160)]
    faces += [faces[-1]] * 60
    states, found = play([(one,) for one in faces])
    assert all(found)
    assert all(holds(state.crop, one.box) for state, one in zip(states, faces, strict=True))
    sizes = numbers(states)[:, 2]
    assert np.ptp(sizes) == 0
    speed = np.diff(numbers(states)[:, 0]) / sizes[0]
    assert np.abs(speed).max() <= 0.05 + 1e-9
    assert np.abs(np.diff(speed)).max() <= 0.01 + 1e-9
    assert speed.min() >= -1e-9  # never back: no overshoot
    assert len({state.crop for state in states[-25:]}) == 1  # and at rest at the end


def test_a_step_is_glided_over_without_overshoot():
    states, found = play([(face(900),)] * 5 + [(face(1070),)] * 80)
    assert all(found)
    x, size = numbers(states)[:, 0], states[0].crop.size
    assert np.all(np.diff(x) >= 0)
    assert np.diff(x).max() <= 0.05 * size + 1e-9
    assert 1070 - OPTIONS.rest / 4 * size <= x[-1] <= 1070
    assert len({state.crop for state in states[-20:]}) == 1


def test_a_run_is_followed_at_bounded_speed_without_overshoot():
    states, found = play([(face(min(300 + 40 * t, 1300)),) for t in range(100)])
    assert all(found)
    x, size = numbers(states)[:, 0], states[0].crop.size
    assert np.diff(x).max() == pytest.approx(0.05 * size)
    assert np.diff(x).min() >= 0
    assert 1300 - OPTIONS.rest / 4 * size <= x[-1] <= 1300


def test_size_stays_within_the_tolerance_and_glides_beyond():
    steady, _ = play([(face(960, side=200),)] * 5 + [(face(960, side=240),)] * 100)
    assert len({state.crop.size for state in steady}) == 1
    brief, _ = play([(face(960, side=200),)] * 20 + [(face(960, side=300),)] * 3 + [(face(960, side=200),)] * 50)
    assert len({state.crop.size for state in brief}) == 1

    lasting, _ = play([(face(960, side=200),)] * 5 + [(face(960, side=320),)] * 150)
    sizes = numbers(lasting)[:, 2]
    assert np.all(np.diff(sizes) >= 0)
    assert np.diff(np.log(sizes)).max() <= 0.05 + 1e-9
    assert sizes[-1] == pytest.approx(320 * OPTIONS.expand, rel=0.1)
    assert sizes[-1] <= 320 * OPTIONS.expand
    assert np.ptp(numbers(lasting)[:, 0]) < 1e-6  # a growing face does not push the crop sideways


def test_before_any_face_the_crop_is_the_whole_frame():
    states, found = play([(), (), (face(500),)])
    assert states[0].crop == states[1].crop == whole_frame(FRAME)
    assert found == [False, False, True]
    assert states[2].crop == portrait_crop(face(500).box, FRAME)


def test_a_dropout_leaves_the_crop_where_it_was():
    states, found = play([(face(960),)] * 5 + [()] * 40 + [(face(960),)] * 5)
    assert len({state.crop for state in states}) == 1
    assert found == [True] * 5 + [False] * 40 + [True] * 5


def test_dropouts_in_a_walk_brake_the_crop_and_lose_nobody():
    clip = [() if t % 20 in (10, 11, 12) else (face(300 + 8 * t), face(1800, side=300)) for t in range(120)]
    states, found = play(clip, TrackOptions(choice="left"))
    assert found == [bool(faces) for faces in clip]
    assert max(state.drift[0] for state in states) <= 8 + 1e-9
    speed = np.diff(numbers(states)[:, 0]) / states[0].crop.size
    assert np.abs(np.diff(speed)).max() <= 0.01 + 1e-9
    assert all(holds(s.crop, faces[0].box) for s, faces in zip(states, clip, strict=True) if faces)


def test_someone_who_stops_while_unseen_is_found_again():
    _, found = play([(face(300 + 20 * t),) for t in range(20)] + [()] * 10 + [(face(700),)])
    assert found[-1]


def test_a_larger_passer_by_steals_nothing():
    clip = [(face(600), face(1900 - 15 * t, side=400)) for t in range(100)]
    states, _ = play([(face(600),)] * 3 + clip)
    assert len({state.crop for state in states}) == 1
    gone, found = play([(face(600),)] * 3 + [(face(1900 - 15 * t, side=400),) for t in range(OPTIONS.patience)])
    assert len({state.crop for state in gone}) == 1
    assert found[3:] == [False] * OPTIONS.patience


@pytest.mark.parametrize("order", [1, -1])
def test_two_people_who_cross_do_not_swap(order):
    walker = [face(500 + 9 * t) for t in range(90)]
    other = [face(1303 - 9 * t, side=235) for t in range(90)]
    states, found = play([(one, two)[::order] for one, two in zip(walker, other, strict=True)])
    assert all(found)
    assert [state.face for state in states] == [one.box for one in walker]


def test_after_a_cut_the_choice_is_made_anew_and_the_crop_jumps_once():
    options = TrackOptions(choice="left", patience=6)
    after = (face(1700, side=120), face(1200, side=120))
    states, found = play([(face(300),)] * 10 + [after] * 20, options)
    assert found == [True] * 10 + [False] * 6 + [True] * 14
    assert states[15].crop == states[0].crop
    assert {state.crop for state in states[16:]} == {portrait_crop(after[1].box, FRAME)}


def test_a_face_back_in_view_after_long_is_glided_to():
    states, found = play([(face(900),)] * 3 + [()] * 50 + [(face(990),)] * 40)
    assert found[-40:] == [True] * 40
    assert np.abs(np.diff(numbers(states)[:, 0])).max() <= 0.05 * states[0].crop.size


@pytest.mark.parametrize("back", [face(960, side=150), face(1040), face(900, y=420)])
def test_a_face_back_after_long_but_not_wholly_in_view_or_small_is_a_cut(back):
    states, _ = play([(face(900),)] * 3 + [()] * 50 + [(back,)] * 5)
    assert {state.crop for state in states[-5:]} == {portrait_crop(back.box, FRAME)}


def test_a_manual_box_is_the_crop_of_every_frame():
    options = TrackOptions(manual=Box(100, 200, 400, 600))
    states, found = play([(), (face(900),), ()], options)
    assert {state.crop for state in states} == {Crop(50, 200, 400)}
    assert found == [True] * 3


def test_an_unknown_choice_is_refused():
    with pytest.raises(InputError, match="'largest', 'left', 'nearest'"):
        track(None, (), FRAME, TrackOptions(choice="tallest"))


def test_the_state_is_a_value():
    state, _ = track(None, (face(900),), FRAME, OPTIONS)
    assert track(state, (face(1100),), FRAME, OPTIONS) == track(state, (face(1100),), FRAME, OPTIONS)
