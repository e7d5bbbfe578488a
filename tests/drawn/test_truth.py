"""Drawn people: known places, known colours, known motion, and two sets that share nothing."""

import itertools
from dataclasses import astuple, fields, replace

import numpy as np
import pytest
import torch

from personalive_core.backends.personalive.motion import face_boxes
from personalive_core.drawn.canvas import FaceMotion, framed, view_of
from personalive_core.drawn.head import Identity
from personalive_core.drawn.motion import random_motion
from personalive_core.drawn.people import random_identity
from personalive_core.drawn.styles import REGIONS
from personalive_core.drawn.truth import (
    EXPRESSION,
    KEYPOINT_NAMES,
    LANDMARKS,
    canonical_keypoints,
    clip_motion,
    draw,
    expression,
    head_pose,
    landmarks,
    person,
    regions,
)
from personalive_core.modules.keypoints import pose_keypoints
from personalive_core.modules.pose_guider import DRAWN

CALM = FaceMotion()
FACE = {
    "skin": (224, 172, 140), "hair": (60, 40, 30), "iris": (70, 120, 160), "lips": (190, 90, 90),
    "shirt": (40, 90, 150), "backdrop": (150, 190, 150),
}  # fmt: skip
PLAIN = Identity(**FACE)
LEVELS = {
    "mouth": {"mouth": 0.7}, "smile": {"smile": 0.8}, "pucker": {"pucker": 0.8}, "jaw": {"jaw": 0.8},
    "blink left": {"blink": (0.8, 0.0)}, "blink right": {"blink": (0.0, 0.8)},
    "brow left": {"brow": (0.8, 0.0)}, "brow right": {"brow": (0.0, 0.8)},
    "gaze right": {"gaze": (0.8, 0.0)}, "gaze down": {"gaze": (0.0, 0.8)}, "cheek": {"cheek": 0.8},
}  # fmt: skip


def flat_numbers(motion):
    """All numbers of a motion, [14 and more]."""
    return np.hstack([np.ravel(part) for part in astuple(motion)])


def spot(who, motion, name, size):
    """Column and row, in pixels, of a landmark."""
    x, y = ((landmarks(who, [motion])[0, LANDMARKS.index(name)] + 1) * size / 2 - 0.5).tolist()
    return x, y


def brightness(who, motion, name, size=256):
    """The darkest of the 3 x 3 pixels around a landmark."""
    x, y = (round(value) for value in spot(who, motion, name, size))
    return int(draw(who, [motion], size)[0, y - 1 : y + 2, x - 1 : x + 2].sum(-1).min())


@pytest.mark.parametrize("index", range(4))
def test_projection_is_that_of_the_keypoints(index):
    who, motions = person("train", index), clip_motion("train", index, 40)
    points = canonical_keypoints(who)
    posed = pose_keypoints(points[None], head_pose(motions))[..., :2]
    placed = np.stack([framed(view_of(motion).place(points.double().numpy())) for motion in motions])
    assert np.abs(posed.numpy() - placed).max() < 1e-5
    turned = view_of(FaceMotion(yaw=30, pitch=-20, roll=10)).rotation
    assert np.allclose(turned @ turned.T, np.eye(3))


def test_drawn_keypoints_are_where_the_pose_guider_expects_them():
    names = [KEYPOINT_NAMES[index] for index in DRAWN]
    assert names == ["forehead", "left eye", "right eye", "left cheek", "right cheek", "nose tip", "chin"]
    forehead, left, right, cheek, other, nose, chin = canonical_keypoints(PLAIN)[list(DRAWN)]
    assert forehead[1] < left[1] == right[1] < nose[1] < cheek[1] == other[1] < chin[1]
    assert left[0] < 0 < right[0]
    assert cheek[0] < 0 < other[0]
    assert nose[2] > max(forehead[2], left[2], chin[2])


def test_face_box_holds_the_face_in_every_pose():
    extremes = [
        FaceMotion(yaw, pitch, roll, (0.1, -0.05), scale, mouth=1.0, brow=(1.0, 1.0))
        for yaw, pitch, roll, scale in itertools.product((-35, 0, 35), (-25, 0, 25), (-25, 0, 25), (0.8, 1.1))
    ]
    for index in range(6):
        who = person("test", index)
        boxes = face_boxes(pose_keypoints(canonical_keypoints(who)[None], head_pose(extremes)), 128)
        spots = (landmarks(who, extremes) + 1) * 64
        assert (boxes[:, None, :2] <= spots).all()
        assert (boxes[:, None, 2:] >= spots).all()
        assert (boxes[:, 2] - boxes[:, 0]).max() < 120


@pytest.mark.parametrize("yaw", [-30, 0, 25])
@pytest.mark.parametrize("eye", ["left", "right"])
def test_pupils_are_dark_where_their_landmarks_are(eye, yaw):
    for gaze in ((0.0, 0.0), (0.8, 0.3), (-0.8, 0.0)):
        assert brightness(PLAIN, FaceMotion(yaw=yaw, gaze=gaze), f"{eye} eye pupil") < 110
    assert brightness(PLAIN, FaceMotion(yaw=yaw), "right cheek") > 180, "the dark must come from the pupil"


def test_lips_have_the_colour_of_lips_where_their_landmarks_are():
    x, y = spot(PLAIN, CALM, "lower lip under", 256)
    _, above = spot(PLAIN, CALM, "lower lip over", 256)
    picture = draw(PLAIN, [CALM], 256)[0]
    lip, chin = picture[round((y + above) / 2), round(x)].astype(int), picture[round(y) + 14, round(x)].astype(int)
    assert np.abs(lip - PLAIN.lips).max() < 60
    assert lip[0] - lip[1] > chin[0] - chin[1] + 25


def test_smile_lifts_the_corners_of_the_mouth_and_widens_it():
    left, right = LANDMARKS.index("left mouth corner"), LANDMARKS.index("right mouth corner")
    sad, calm, glad = landmarks(PLAIN, [replace(CALM, smile=level) for level in (-1.0, 0.0, 1.0)])
    assert glad[left, 1] < calm[left, 1] - 0.01 < sad[left, 1] - 0.02
    assert glad[right, 0] - glad[left, 0] > 1.15 * (calm[right, 0] - calm[left, 0])
    for smile in (-1.0, 0.0, 1.0):
        assert brightness(PLAIN, replace(CALM, smile=smile), "left mouth corner") < 300, "the line between the lips"
    assert brightness(PLAIN, replace(CALM, smile=1.0), "left cheek") > 350


def test_nose_tip_crosses_the_far_cheek_with_the_head():
    places = {name: LANDMARKS.index(name) for name in ("nose tip", "left eye left", "left eye right", "right eye left")}
    calm, turned = landmarks(PLAIN, [CALM, FaceMotion(yaw=35)])
    moved = (turned - calm)[:, 0]
    assert moved[places["nose tip"]] > moved[places["right eye left"]] + 0.05
    width = [points[places["left eye right"], 0] - points[places["left eye left"], 0] for points in (calm, turned)]
    far = landmarks(PLAIN, [FaceMotion(yaw=-35)])[0]
    assert far[places["left eye right"], 0] - far[places["left eye left"], 0] < 0.75 * width[0]
    assert width[1] > 0.8 * width[0]


def test_gaze_moves_the_irises_and_not_the_lids():
    calm, aside, down = landmarks(PLAIN, [CALM, replace(CALM, gaze=(1.0, 0.0)), replace(CALM, gaze=(0.0, 1.0))])
    pupil, corner = LANDMARKS.index("right eye pupil"), LANDMARKS.index("right eye left")
    assert (aside - calm)[pupil].tolist() == pytest.approx([0.03, 0.0], abs=0.005)
    assert (down - calm)[pupil].tolist() == pytest.approx([0.0, 0.017], abs=0.005)
    assert torch.equal(aside[corner], calm[corner])


def test_lids_meet_as_the_eye_closes():
    upper, under = LANDMARKS.index("left eye upper"), LANDMARKS.index("left eye under")
    motions = [replace(CALM, blink=(level, 0.0)) for level in (0.0, 0.4, 0.8, 1.0)]
    gaps = (landmarks(PLAIN, motions)[:, under, 1] - landmarks(PLAIN, motions)[:, upper, 1]).tolist()
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.05
    assert gaps[-1] < 0.01


def test_expression_holds_every_number_in_its_place():
    numbers = expression([replace(CALM, **LEVELS[name]) for name in EXPRESSION])
    assert tuple(LEVELS) == EXPRESSION
    assert torch.equal(numbers != 0, torch.eye(len(EXPRESSION), dtype=torch.bool))


@pytest.mark.parametrize("style", ["photo", "line"])
@pytest.mark.parametrize("name", EXPRESSION)
def test_every_number_of_the_expression_is_visible(name, style):
    calm, changed = draw(PLAIN, [CALM, replace(CALM, **LEVELS[name])], 128, style).astype(int)
    assert (np.abs(changed - calm).max(-1) > 20).sum() >= 8


@pytest.mark.parametrize("name", ["yaw", "pitch", "roll"])
def test_a_turn_moves_the_head_far_more_than_the_shoulders(name):
    calm, turned = draw(PLAIN, [CALM, replace(CALM, **{name: 15.0})], 128).astype(int)
    difference = np.abs(turned - calm).max(-1) > 20
    assert difference[24:90].sum() > 300
    assert difference[118:].sum() < 20


IDENTITY_CHANGES = {
    "style": "long", "face_width": 1.1, "face_length": 1.08, "jaw": 1.12, "chin": 1.3, "parting": 0.8, "hairline": 0.9,
    "brows": 1.4, "lashes": 0.1, "eye_size": 1.15, "eye_gap": 1.07, "eye_tilt": 1.0, "nose": 1.25, "mouth_width": 1.15,
    "fullness": 1.4, "glasses": "round", "beard": 0.7, "clothes": "jacket", "background": "bokeh", "light": 1.0,
    "skin": (90, 60, 44), "hair": (210, 180, 130), "iris": (60, 40, 28), "lips": (140, 60, 90), "shirt": (200, 60, 60),
    "backdrop": (60, 60, 90),
}  # fmt: skip


@pytest.mark.parametrize("name", IDENTITY_CHANGES)
def test_every_trait_is_visible(name):
    other = replace(PLAIN, **{name: IDENTITY_CHANGES[name]})
    one, two = (draw(who, [CALM], 256)[0].astype(int) for who in (PLAIN, other))
    assert (np.abs(one - two).max(-1) > 12).sum() > 12
    assert set(IDENTITY_CHANGES) == {field.name for field in fields(Identity)} - {"frame", "pattern"}


def test_drawing_is_a_function_of_its_arguments():
    who, motions = person("train", 3), clip_motion("train", 3, 3)
    one, two = draw(who, motions, 96), draw(who, motions, 96)
    assert one.shape == (3, 96, 96, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, two)
    assert np.array_equal(draw(who, motions[1:2], 96)[0], one[1])


def test_people_and_motions_are_functions_of_split_and_index():
    assert person("train", 5) == person("train", 5)
    assert clip_motion("test", 5, 30) == clip_motion("test", 5, 30)
    assert clip_motion("test", 5, 200)[:30] == clip_motion("test", 5, 30), "a longer clip begins with the shorter one"


def test_splits_share_nobody():
    train, test = ({person(split, index) for index in range(200)} for split in ("train", "test"))
    assert len(train) == len(test) == 200
    assert not train & test
    assert clip_motion("train", 7, 20) != clip_motion("test", 7, 20)


def test_people_are_of_many_kinds():
    crowd = [random_identity(np.random.default_rng(seed)) for seed in range(300)]
    for name, kinds in (("style", 7), ("glasses", 3), ("clothes", 4), ("background", 5)):
        assert len({getattr(who, name) for who in crowd}) == kinds
    tones = [sum(who.skin) / 3 for who in crowd]
    assert min(tones) < 70
    assert max(tones) > 205
    assert {who.light > 0 for who in crowd} == {True, False}
    assert 0.05 < np.mean([who.beard > 0 for who in crowd]) < 0.4


LIMITS = FaceMotion(35, 25, 25, (0.15, 0.15), 1.2, 1, 1, 1, 1, (1, 1), (1, 1), (1, 1), 1)
LOWEST = FaceMotion(-35, -25, -25, (-0.15, -0.15), 0.8, 0, -1, 0, -1, (0, 0), (-1, -1), (-1, -1), 0)


def test_long_motion_stays_within_its_limits_and_moves_as_people_do():
    motions = clip_motion("train", 0, 3000)
    numbers = np.array([flat_numbers(motion) for motion in motions])
    assert (numbers <= flat_numbers(LIMITS)).all()
    assert (numbers >= flat_numbers(LOWEST)).all()
    for column, spread in ((0, 14), (1, 8), (2, 8), (3, 0.06), (5, 0.05)):
        assert numbers[:, column].std() == pytest.approx(spread, rel=0.35)
    pose = np.abs(np.diff(numbers[:, :6], axis=0)).max(0)
    assert (pose < np.array([5, 3.5, 3.5, 0.025, 0.02, 0.025])).all(), "a head does not jump"
    blinks = [sum(a[side] < 0.5 <= b[side] for a, b in itertools.pairwise(m.blink for m in motions)) for side in (0, 1)]
    assert all(20 < count < 80 for count in blinks)
    winks = np.mean([abs(motion.blink[0] - motion.blink[1]) > 0.9 for motion in motions])
    assert 0 < winks < 0.02
    still = np.mean([motion.mouth < 0.02 for motion in motions])
    assert 0.1 < still < 0.6, "speech has pauses"
    assert (numbers[:, 6:].max(0) > 0.6).all(), "every gesture happens in two minutes"


def test_motion_takes_any_length_and_rate():
    for frames in (0, 1, 2):
        assert len(random_motion(np.random.default_rng(0), frames)) == frames
    slow, fast = (random_motion(np.random.default_rng(0), count, rate) for count, rate in ((5, 25.0), (9, 50.0)))
    assert slow[4] == fast[8]


@pytest.mark.parametrize("index", range(6))
def test_regions_are_apart_and_have_their_colours(index):
    who, motions = (
        replace(person("test", index), background="plain", clothes="round"),
        clip_motion("test", index, 40)[::13],
    )
    masks, pictures = regions(who, motions, 128), draw(who, motions, 128)
    assert masks.shape == (len(motions), 4, 128, 128)
    assert masks.sum(1).max() == 1
    named = dict(zip(REGIONS, (who.skin, who.hair, who.shirt, who.backdrop), strict=True))
    for mask, (name, colour) in zip(masks.swapaxes(0, 1), named.items(), strict=True):
        if name == "hair" and who.style == "bald":
            assert not mask.any()
            continue
        assert mask.sum() > 200 * len(motions)
        mean = pictures[mask].mean(0)
        assert 0.5 < mean.sum() / sum(colour) < 1.15, f"{name}: {mean} for {colour}"
        assert np.abs(mean / mean.sum() - np.array(colour) / sum(colour)).max() < 0.06, f"{name}: {mean} for {colour}"


def test_regions_leave_out_eyes_lips_and_beard():
    mask = regions(PLAIN, [CALM], 256)[0]
    bearded = regions(replace(PLAIN, beard=0.8), [CALM], 256)[0]
    x, y = (round(value) for value in spot(PLAIN, CALM, "chin", 256))
    assert mask[REGIONS.index("skin"), y, x]
    assert not bearded[:, y, x].any()
    for name in ("left eye pupil", "right eye pupil"):
        x, y = (round(value) for value in spot(PLAIN, CALM, name, 256))
        assert not mask[:, y, x].any()
    x, y = spot(PLAIN, CALM, "nose bridge", 256)
    assert mask[REGIONS.index("skin"), round(y), round(x)]


def test_ears_and_hair_come_and_go_with_the_turn():
    left, right = regions(PLAIN, [FaceMotion(yaw=-30), FaceMotion(yaw=30)], 128)[:, REGIONS.index("hair")]
    columns = np.arange(128)
    middle = [(mask * columns).sum() / mask.sum() for mask in (left, right)]
    assert middle[0] - middle[1] > 8, "the back of the hair shows on the side turned away from"


def test_line_drawing_is_ink_on_pale_paper():
    picture = draw(PLAIN, [CALM], 128, "line")[0]
    assert np.abs(picture[2, 2].astype(int) - (246, 241, 230)).max() < 3
    gray = picture.mean(-1)
    assert (gray > 150).mean() > 0.7
    assert 0.01 < (gray < 90).mean() < 0.2
    assert gray[120, :40].min() < 140, "an outline between paper and shoulder"
    photo = draw(PLAIN, [CALM], 128)[0].mean(-1)
    assert np.abs(gray - photo).mean() > 30
