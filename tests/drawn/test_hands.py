"""Hands that cross before actors, and the hand at the jaw: when they come, what they hide, what then counts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.finery import finery
from personalive_core.drawn.hands import Hand, hand_path, hand_shape, resting_hand
from personalive_core.drawn.sample import SITTER
from personalive_core.drawn.truth import (
    EXPRESSION,
    LANDMARKS,
    clip_motion,
    draw,
    draw_crossed,
    hidden_landmarks,
    journey_motion,
    person,
    regions,
)
from personalive_core.training.prepare import Drawing, drawn_clip
from personalive_core.training.regions import FEATURES, hidden_features, region_boxes, told_numbers, without_hidden

SIZE = 96
CALM = FaceMotion()
BEFORE_MOUTH, BEFORE_EYE = Hand(-1, (-0.05, 0.5), curl=0.6), Hand(1, (0.3, 0.2))


def paths(count, frames=96):
    return [hand_path(np.random.default_rng(seed), frames) for seed in range(count)]


def test_hands_come_and_go_and_most_frames_have_none():
    assert hand_path(np.random.default_rng(3), 300)[:120] == hand_path(np.random.default_rng(3), 120)
    shares = np.array([np.mean([bool(hands) for hands in path]) for path in paths(200)])
    assert 0.1 < shares.mean() < 0.3
    assert 0.3 < (shares > 0).mean() < 0.6
    seen = [hand for path in paths(200) for hands in path for hand in hands]
    assert {hand.side for hand in seen} == {-1, 1}
    assert {hand.palm for hand in seen} == {False, True}
    assert {len(hands) for path in paths(200) for hands in path} == {0, 1, 2}


def test_a_hand_enters_from_below_and_does_not_jump():
    path = next(path for path in paths(50) if any(path) and not path[0])
    places = [hand_shape(hands[0], CALM).palm.mean(0) if hands else None for hands in path]
    steps = [np.abs(b - a).max() for a, b in itertools.pairwise(places) if a is not None and b is not None]
    assert max(steps) < 0.4
    entries = [b for a, b in itertools.pairwise(places) if a is None and b is not None]
    assert entries
    assert min(place[1] for place in entries) > 1.0


def test_a_crossing_hand_has_the_skin_of_the_person_and_covers_what_it_says():
    plain, crossed = draw(SITTER, [CALM], SIZE, "fine"), draw_crossed(SITTER, [CALM], [(BEFORE_MOUTH,)], SIZE)
    assert np.array_equal(draw_crossed(SITTER, [CALM], [()], SIZE), plain)
    changed = np.abs(plain.astype(int) - crossed).max((0, 3)) > 10
    assert 0.1 < changed.mean() < 0.4
    hidden = hidden_landmarks(SITTER, [CALM], [(BEFORE_MOUTH,)])[0]
    names = {name for name, behind in zip(LANDMARKS, hidden.tolist(), strict=True) if behind}
    assert {"upper lip over", "lower lip under"} <= names
    assert not any("eye" in name or "brow" in name for name in names)
    palm = hand_shape(BEFORE_MOUTH, CALM).palm.mean(0)
    column, row = ((1.15 * palm + 1) * SIZE / 2).astype(int)
    colour = crossed[0, row - 2 : row + 3, column - 2 : column + 3].mean((0, 1))
    assert np.abs(colour / colour.sum() - np.array(SITTER.skin) / sum(SITTER.skin)).max() < 0.06


def test_the_forearm_hides_too():
    high = replace(BEFORE_MOUTH, aim=(0.05, -0.2))
    hidden = hidden_landmarks(SITTER, [CALM], [(high,)])[0]
    assert bool(hidden[LANDMARKS.index("left jaw")]) or bool(hidden[LANDMARKS.index("left mouth corner")])


@pytest.mark.parametrize("side", [-1, 1])
def test_a_resting_hand_leaves_eyes_and_mouth_free_and_is_skin(monkeypatch, side):
    motions = [*clip_motion("train", 1, 200)[::10], *journey_motion("train", 21, 1000)[::50]]
    hands = [(resting_hand(SITTER, side, motion),) for motion in motions]
    hidden = hidden_features(hidden_landmarks(SITTER, motions, hands))
    assert not hidden.any(), hidden.sum(0)
    monkeypatch.setattr("personalive_core.drawn.fine.finery", lambda who: replace(finery(who), resting=side))
    held = draw(SITTER, [CALM], SIZE, "fine")[0].astype(int)
    skin = regions(SITTER, [CALM], SIZE, "fine")[0, 0]
    monkeypatch.undo()
    changed = np.abs(held - draw(SITTER, [CALM], SIZE, "fine")[0]).max(-1) > 10
    columns = np.nonzero(changed)[1] / SIZE - 0.5
    assert np.mean(columns * side) > 0.1
    assert (skin & ~regions(SITTER, [CALM], SIZE, "fine")[0, 0]).sum() > 150


def test_few_people_rest_a_hand_at_the_jaw():
    resting = [finery(person("train", index)).resting for index in range(300)]
    assert set(resting) == {-1, 0, 1}
    assert 0.02 < np.mean(np.abs(resting)) < 0.12


def test_only_actors_of_the_style_fine_have_crossing_hands():
    fine = Drawing(64, frames=8, stride=12, style="fine", actors=True)
    index = next(n for n in range(40) if drawn_hidden(fine, n).any())
    clip, alone = drawn_clip("train", index, fine), drawn_clip("train", index, replace(fine, actors=False))
    assert torch.equal(clip.pictures, alone.pictures)
    assert clip.actor_hidden.shape == (8, len(FEATURES))
    assert alone.actor_hidden is None
    assert drawn_clip("train", 0, replace(fine, style="photo", frames=1)).actor_hidden is None


def drawn_hidden(drawing, index):
    """Which features of an actor are hidden: what `drawn_clip` says, without the pictures."""
    from personalive_core.drawn.truth import clip_hands
    from personalive_core.training.prepare import ACTORS

    frames = drawing.frames * drawing.stride
    motions, hands = (path("train", index, frames)[:: drawing.stride] for path in (clip_motion, clip_hands))
    return hidden_features(hidden_landmarks(person("train", ACTORS + index), motions, hands))


# What counts


def test_what_a_hand_hides_does_not_count():
    motions = [CALM, CALM, CALM]
    hidden = hidden_features(hidden_landmarks(SITTER, motions, [(), (BEFORE_MOUTH,), (BEFORE_EYE,)]))
    assert hidden.tolist() == [[False] * 3, [False, False, True], [False, True, False]]
    told = told_numbers(hidden)
    assert told[0].all()
    untold = [{name for name, seen in zip(EXPRESSION, row.tolist(), strict=True) if not seen} for row in told]
    assert untold[1] == {"mouth", "smile", "pucker", "jaw", "cheek"}
    assert untold[2] == {"blink right", "brow right"}
    one, both = told_numbers(torch.tensor([[True, False, False], [True, True, False]]))
    assert one[EXPRESSION.index("gaze down")]  # the other eye tells it
    assert not both[EXPRESSION.index("gaze down")]
    boxes = region_boxes(torch.tensor([[10.0, 10.0, 50.0, 50.0]]).expand(3, -1), None, 64)
    left = without_hidden(boxes, hidden)
    assert torch.equal(left[:, 0], boxes[:, 0])
    assert (left[:, 1:] == 0).all(-1).tolist() == hidden.tolist()
    assert without_hidden(boxes, None) is boxes
