"""The fine style: the same truth as the plain one, more to see; longer films with turns, leaving and coming back."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from personalive_core.drawn.canvas import Canvas, FaceMotion, view_of
from personalive_core.drawn.fine import draw_marks
from personalive_core.drawn.fine_dress import BRIM_HEIGHT, FLAT_TOP, ROUND_TOP, crown
from personalive_core.drawn.fine_hair import draw_cap_strands, draw_falling_hair
from personalive_core.drawn.fine_scene import SCENERY, light_over, scene
from personalive_core.drawn.finery import HATS, SCENES, finery
from personalive_core.drawn.head import head_of
from personalive_core.drawn.motion import FARTHEST, random_motion
from personalive_core.drawn.sample import SITTER
from personalive_core.drawn.styles import LabelCanvas, LineCanvas, paper, unlabelled
from personalive_core.drawn.truth import LANDMARKS, clip_motion, draw, journey_motion, landmarks, person, regions
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


@pytest.mark.parametrize(
    ("hairs", "style", "shades"),
    [
        (draw_cap_strands, "bun", 20),
        (draw_cap_strands, "curly", 20),
        (draw_falling_hair, "long", 15),
        (draw_falling_hair, "curly", 20),
    ],
)
def test_hair_has_strands_of_many_shades_and_keeps_off_the_face(hairs, style, shades):
    who = replace(SITTER, style=style)
    canvas = Canvas(paper(SIZE), view_of(CALM), "hair")
    hairs(canvas, head_of(who, CALM))
    drawn = (canvas.image != paper(SIZE)).any(-1)
    assert drawn.sum() > 300
    assert len(np.unique(canvas.image[drawn], axis=0)) > shades
    if hairs is draw_cap_strands:
        x, y = ((landmarks(who, [CALM])[0, LANDMARKS.index("nose tip")].numpy() + 1) * SIZE / 2).astype(int)
        assert not drawn[y - 8 :, x - 10 : x + 10].any()


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
    changed = difference(draw(SITTER, [CALM], SIZE, "fine"), draw(SITTER, [motion], SIZE, "fine"))
    x, y = ((landmarks(SITTER, [motion])[0, LANDMARKS.index(place)].numpy() + 1) * SIZE / 2).astype(int)
    assert changed[y - 4 : y + 5, x - 4 : x + 5].max() > 25
    assert changed[-6:, :6].max() == 0  # the background stays


@pytest.fixture
def dressed(monkeypatch):
    """`draw` in the fine style with another finery."""

    def pictures(who, motion, what=draw, **changed):
        monkeypatch.setattr("personalive_core.drawn.fine.finery", lambda one: replace(finery(one), **changed))
        return what(who, [motion], SIZE, "fine")

    return pictures


@pytest.mark.parametrize("hat", ["beanie", "brimmed", "band"])
def test_a_hat_is_clothes_and_covers_hair(dressed, hat):
    who = wearing(hat=hat)
    bare, covered = (dressed(who, CALM, regions, hat=kind)[0] for kind in ("none", hat))
    x, y = ((landmarks(who, [CALM])[0, LANDMARKS.index("nose bridge")].numpy() + 1) * SIZE / 2).astype(int)
    top = slice(0, y - SIZE // 5), slice(x - 3, x + 4)  # over the middle of the forehead
    assert bare[2][top].sum() == 0
    assert covered[2][top].sum() > (15 if hat == "band" else 60)
    assert covered[1].sum() < bare[1].sum()


@pytest.mark.parametrize("kind", ["stud", "hoop", "drop"])
def test_an_earring_hangs_at_the_ear_that_is_seen(dressed, kind):
    who, turned = wearing(earrings="hoop", hat="none"), FaceMotion(yaw=25.0)
    changed = difference(*(dressed(who, turned, earrings=one) for one in ("none", kind)))
    assert changed.max() > 30
    rows, columns = np.nonzero(changed)
    assert len(rows) < 150
    assert abs(columns.mean() / SIZE - 0.5) > 0.1  # at a side of the head
    assert 0.4 < rows.mean() / SIZE < 0.75


@pytest.mark.parametrize("flat", [ROUND_TOP, FLAT_TOP])
@pytest.mark.parametrize("yaw", [0.0, 40.0])
def test_a_crown_has_no_corners_and_no_peak(flat, yaw):
    lines = crown(head_of(SITTER, CALM), np.linspace(-np.pi, np.pi, 49), BRIM_HEIGHT, 0.0, flat)
    outline = Canvas(paper(SIZE), view_of(FaceMotion(yaw=yaw))).outline(lines.reshape(-1, 3))
    upper = outline[outline[:, 1] < outline[:, 1].max() - 0.1]
    ways = np.diff(upper, axis=0)
    ways = ways[np.linalg.norm(ways, axis=1) > 0.01]
    turns = np.degrees(np.diff(np.unwrap(np.arctan2(*ways.T))))
    assert len(turns) > 8
    assert np.abs(turns[np.abs(turns) < 120]).max() < 30  # 120 and more: the lower edge, back to the first point


def test_the_lit_edge_of_a_face_is_no_scar_on_a_turned_cheek():
    who, plain = replace(SITTER, light=1.0), replace(finery(SITTER), freckles=0.0, mole=None)
    for yaw, lit in ((0.0, True), (30.0, True), (-35.0, False)):
        motion = FaceMotion(yaw=yaw)
        canvas = Canvas(paper(SIZE) // 2, view_of(motion))
        draw_marks(canvas, head_of(who, motion), plain)
        assert (canvas.image != paper(SIZE) // 2).any() == lit


def test_combed_strands_end_unevenly():
    class Noted(Canvas):
        def lines(self, points, *_):
            ends.append(points[:, -1, 1])

    ends = []
    draw_cap_strands(Noted(paper(SIZE), view_of(CALM)), head_of(SITTER, CALM))
    (heights,) = ends
    assert np.abs(np.diff(heights, 2)).mean() > 0.01


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
