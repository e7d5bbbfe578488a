"""Sharpness, features, gaze, jaw and cheeks against values worked out by hand, and on drawn people."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from personalive_core.drawn.landmarker import SIZE
from personalive_core.drawn.truth import LANDMARKS, draw, landmarks
from personalive_core.evaluation.cases import Truth, self_case
from personalive_core.evaluation.closeness import (
    Closeness,
    closeness,
    error_around,
    feature_error,
    gaze_error,
    gradient_energy,
    jackknifed,
    mean_closeness,
    ratio_of_means,
    shares,
)
from personalive_core.evaluation.reenactment import MODEL, REPEATED, Reenactment
from personalive_core.evaluation.report import closeness_table
from personalive_core.training.networks import SHAPES, fresh


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def test_gradient_energy_is_the_mean_squared_step():
    stripes = torch.tensor([[0.0, 0.5], [0.0, 0.5]]).expand(1, 3, 2, 2)
    assert gradient_energy(stripes) == pytest.approx(0.25)  # across a half, down nothing
    assert gradient_energy(0.5 * stripes) / gradient_energy(stripes) == pytest.approx(0.25)


def eyes(dark, closed=False):
    """A picture of 64 pixels whose left eye is 20 wide and 8 high, with a dark spot there, and its landmarks."""
    picture, points = torch.ones(1, 3, 64, 64).double(), torch.zeros(1, 31, 2).double()
    x, y = dark
    picture[:, :, y : y + 2, x : x + 2] = 0.0
    for part, place in (("left", (10, 24)), ("right", (30, 24)), ("upper", (20, 20)), ("under", (20, 28))):
        points[0, LANDMARKS.index(f"left eye {part}")] = torch.tensor(place) / 32.0 - 1
    if closed:
        points[0, LANDMARKS.index("left eye under")] = points[0, LANDMARKS.index("left eye upper")]
    return picture, points  # the right eye is closed: all its points are one


def test_gaze_is_where_it_is_dark_in_the_true_eye():
    (shown, _), (true, points) = eyes((15, 23)), eyes((21, 23))
    assert gaze_error(true, true, points) == 0.0
    assert gaze_error(shown, true, points) == pytest.approx(6.0, abs=1e-3)
    elsewhere, _ = eyes((50, 50))  # outside the eye, which is white
    assert gaze_error(elsewhere, true, points) == pytest.approx(2.0, abs=0.3)  # from the eye's middle
    assert math.isnan(gaze_error(shown, *eyes((21, 23), closed=True)))


def test_an_error_counts_around_the_points_alone():
    true, points = torch.zeros(1, 3, 64, 64).double(), torch.tensor([[[0.0, 0.0]]]).double()
    shown = true.clone()
    shown[..., 4, 4] = 1.0
    assert error_around(shown, true, points) == 0.0
    shown[..., 28:36, 28:36] = 0.5
    assert error_around(shown, true, points) == pytest.approx(0.5)


def test_features_tell_a_blurred_picture_from_a_sharp_one():
    model = fresh(SHAPES["twin"], 0)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    soft = torch.nn.functional.avg_pool2d(picture, 3, 1, 1)
    assert feature_error(model, picture, picture) == 0.0
    assert feature_error(model, soft, picture) > 1e-4


def test_a_share_is_of_means_and_its_error_jackknifed():
    one, other = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    assert jackknifed(ratio_of_means, one, other) == pytest.approx((0.5, 0.0))
    share, error = jackknifed(ratio_of_means, np.array([1.0, 3.0]), np.array([2.0, 2.0]))
    assert share == 1.0
    assert error == pytest.approx(0.5)  # without one or the other 1.5 and 0.5: sqrt((0.25 + 0.25) / 2)
    assert jackknifed(ratio_of_means, one[:1], other[:1]) == (0.5, math.inf)


@pytest.mark.parametrize(("size", "style"), [(SIZE, "photo"), (2 * SIZE, "photo"), (2 * SIZE, "fine")])
def test_gaze_jaw_and_cheeks_of_drawn_people_are_seen(size, style):
    """Gaze is in pixels of the pictures; the others have no unit: they are about the same at any size."""
    case, larger = self_case(0, 2, style), size / SIZE
    motions = [replace(m, gaze=(0.9, 0.0), jaw=0.9, cheek=0.9, blink=(0.0, 0.0), mouth=0.1) for m in case.motions]
    pictures, points = draw(case.sitter, motions, size, style), landmarks(case.sitter, motions)
    truth = Truth(pictures, points, np.zeros((2, 4, 1, 1), bool))

    def shown(**changed):
        return closeness(draw(case.sitter, [replace(m, **changed) for m in motions], size, style), truth, model)

    model = fresh(SHAPES["twin"], 0)
    assert shown() == Closeness(1.0, 0.0, 0.0, 0.0, 0.0)
    away, swung, slack = shown(gaze=(-0.9, 0.0)), shown(jaw=-0.9), shown(cheek=0.0)
    assert 0.9 * larger < away.gaze < 2.7 * larger
    assert away.gaze > 5 * max(swung.gaze, slack.gaze)
    assert away.jaw == away.cheeks == 0.0
    assert 0.03 < swung.jaw < 0.15
    assert 0.02 < slack.cheeks < 0.2


def test_the_table_and_the_values_tell_every_row():
    clips = [Closeness(0.5, 0.2, 1.0, 2.0, 1.0), Closeness(0.7, 0.4, 2.0, 2.0, float("nan"))]
    repeated = [Closeness(1.0, 0.4, 2.0, 4.0, 2.0)] * 2
    close = {MODEL: mean_closeness(clips), REPEATED: repeated[0]}
    task = Reenactment("Cross-reenactment", 2, 3, {}, 0.5, close, shares(clips, repeated))
    table, said = closeness_table(task)
    assert f"| {MODEL} | 0.60 | 0.300 | 1.50 | 2.000 | 1.000 |" in table
    assert (
        "| PersonaLive, as a share of the reference repeated | | 0.750 ± 0.250 | 0.750 ± 0.250 | 0.500 ± 0.000" in table
    )
    assert said.endswith("over people.")
    assert closeness_table(replace(task, close={})) == []
