"""The fine style: the same truth as the plain one, more to see; longer films with turns, leaving and coming back."""

import itertools
from dataclasses import replace

import cv2
import numpy as np
import pytest

from personalive_core.drawn.canvas import Canvas, FaceMotion, view_of
from personalive_core.drawn.fine_scene import SCENERY, light_over, scene
from personalive_core.drawn.finery import HATS, SCENES, finery
from personalive_core.drawn.motion import FARTHEST, random_motion
from personalive_core.drawn.sample import SITTER
from personalive_core.drawn.styles import LabelCanvas, LineCanvas, paper, unlabelled
from personalive_core.drawn.truth import clip_motion, draw, journey_motion, landmarks, person, regions
from personalive_core.training.prepare import Drawing, drawn_clip

SIZE = 96
CALM = FaceMotion()
PEOPLE = [person("train", index) for index in range(40)]


def difference(one, other):
    return np.abs(one.astype(int) - other).mean((0, 3))


def wearing(**looks):
    """The first person of PEOPLE with these looks of the finery."""
    return next(who for who in PEOPLE if all(getattr(finery(who), key) == value for key, value in looks.items()))


def test_a_person_is_the_same_in_every_picture_and_another_one_is_not():
    one, again = (draw(SITTER, [CALM], SIZE, "fine") for _ in range(2))
    assert np.array_equal(one, again)
    assert finery(PEOPLE[0]) == finery(replace(PEOPLE[0]))
    assert finery(PEOPLE[0]) != finery(PEOPLE[1])


def test_all_that_there_is_to_wear_and_to_stand_before_comes_up():
    looks = [finery(person("train", index)) for index in range(150)]
    assert {look.hat for look in looks} == set(HATS)
    assert {look.scene for look in looks} == set(SCENES)
    assert {look.earrings for look in looks} == {"none", "stud", "hoop", "drop"}
    assert any(look.freckles for look in looks)
    assert any(look.necklace for look in looks)
    for who in PEOPLE:
        if who.beard:
            assert not finery(who).necklace
            assert finery(who).shadow is None


def gradient(pictures, mask):
    grey = pictures.astype(float).mean(-1)[0]
    return np.square(np.diff(grey, axis=1))[mask[:, 1:]].mean()


@pytest.mark.parametrize("style", ["long", "bob", "curly"])
def test_hair_has_strands(style):
    who = replace(wearing(hat="none"), style=style, hair=(120, 80, 50), glasses="none")
    mask = cv2.erode(regions(who, [CALM], SIZE)[0, 1].astype(np.uint8), np.ones((7, 7))) > 0
    plain, fine = (gradient(draw(who, [CALM], SIZE, style), mask) for style in ("photo", "fine"))
    assert fine > 1.3 * plain


@pytest.mark.parametrize(
    ("motion", "place"),
    [
        (FaceMotion(gaze=(1.0, 0.0)), "left eye pupil"),
        (FaceMotion(blink=(1.0, 1.0)), "right eye upper"),
        (FaceMotion(mouth=1.0), "lower lip over"),
        (FaceMotion(brow=(1.0, 1.0)), "left brow middle"),
    ],
)
def test_motion_shows_at_its_landmarks(motion, place):
    from personalive_core.drawn.truth import LANDMARKS

    changed = difference(draw(SITTER, [CALM], SIZE, "fine"), draw(SITTER, [motion], SIZE, "fine"))
    x, y = ((landmarks(SITTER, [motion])[0, LANDMARKS.index(place)].numpy() + 1) * SIZE / 2).astype(int)
    assert changed[y - 4 : y + 5, x - 4 : x + 5].max() > 25
    assert changed[-6:, :6].max() == 0  # the background stays


def test_a_hat_is_clothes_and_covers_hair():
    who = wearing(hat="beanie")
    hair, clothes = (regions(who, [CALM], SIZE, style)[0, [1, 2]] for style in ("photo", "fine"))
    plain, fine = (regions(who, [CALM], SIZE, style)[0] for style in ("photo", "fine"))
    assert hair.shape == clothes.shape
    assert fine[2, : SIZE // 3].sum() > 100  # clothes up there
    assert plain[2, : SIZE // 3].sum() == 0
    assert fine[1].sum() < plain[1].sum()


def test_an_earring_hangs_at_an_ear():
    who = wearing(earrings="hoop", hat="none")
    turned = FaceMotion(yaw=25.0)
    bare = replace(who, pattern=next(p for p in range(400) if finery(replace(who, pattern=p)).earrings == "none"))
    with_ring, without = (draw(one, [turned], SIZE, "fine") for one in (who, bare))
    assert with_ring.shape == without.shape
    labels = [regions(one, [turned], 2 * SIZE, "fine")[0, 0] for one in (who, bare)]
    assert labels[0].sum() != labels[1].sum()  # it hides some skin


@pytest.mark.parametrize("kind", SCENERY)
def test_every_scene_is_drawn_and_read_only(kind):
    who = wearing(scene=kind)
    picture = scene(who, 128)
    assert picture.shape == (128, 128, 3)
    assert picture.std() > 8
    assert not picture.flags.writeable


def test_the_light_lies_over_the_picture_from_its_side():
    who = replace(SITTER, light=1.0)
    factors = light_over(who, 64).mean(-1)
    assert factors[:32, 40:].mean() > factors[:32, :24].mean()
    assert 0.6 < factors.min() < factors.max() < 1.4


def test_many_lines_at_once_are_the_lines_one_by_one():
    lines = np.random.default_rng(1).uniform(-0.4, 0.4, (5, 6, 2))
    colours = [(10 * i, 200, 30) for i in range(5)]
    for kind, ground in ((Canvas, paper), (LineCanvas, paper), (LabelCanvas, unlabelled)):
        together, single = (kind(ground(96), view_of(CALM), "details") for _ in range(2))
        together.lines(lines, colours, 0.02)
        for line, colour in zip(lines, colours, strict=True):
            single.line(line, colour, 0.02)
        assert np.array_equal(together.image, single.image)
        assert not np.array_equal(together.image, ground(96))


# Longer films


def test_a_longer_film_begins_with_the_shorter_one():
    assert journey_motion("train", 3, 400)[:100] == journey_motion("train", 3, 100)
    assert journey_motion("train", 3, 100) != clip_motion("train", 3, 100)


def test_people_turn_far_leave_the_picture_and_come_back():
    film = journey_motion("train", 21, 1500)
    assert max(abs(one.yaw) for one in film) > 40
    assert max(abs(one.yaw) for one in film) <= FARTHEST
    away = np.array([abs(one.shift[0]) > 0.8 or one.shift[1] > 1.0 for one in film])
    assert 0.01 < away.mean() < 0.3
    comings = (np.diff(away.astype(int)) == -1).sum()
    assert comings >= 2
    calm = random_motion(np.random.default_rng(1), 300)
    assert max(abs(one.shift[0]) for one in calm) < 0.2
    steps = [abs(b.shift[0] - a.shift[0]) for a, b in itertools.pairwise(film)]
    assert max(steps) < 0.15  # nobody jumps


def test_frames_without_a_face_in_them_are_marked():
    drawing = Drawing(64, frames=30, stride=50, journeys=True)
    clip = drawn_clip("train", 21, drawing)
    assert 0 < int((~clip.motion.valid).sum()) < 15
    assert bool(drawn_clip("train", 21, replace(drawing, journeys=False, frames=3)).motion.valid.all())
