"""Each definition against numbers worked out by hand."""

import math

import numpy as np
import pytest
import torch

from personalive_core.metrics.felt import (
    CENTRE,
    EYES,
    colour_drift,
    colour_error,
    correlation,
    jitter,
    lip_lag,
    lip_sync,
    mean_colours,
    shake,
    sharpness,
    sharpness_ratio,
)
from personalive_core.metrics.pictures import l1, lab
from personalive_core.metrics.summary import FilmNumbers, figures
from personalive_core.metrics.temporal import read_changes
from personalive_core.metrics.types import FilmWindow, Metric, averaged
from personalive_core.metrics.vectors import cosine, frechet_distance, mean_distance, pose_distance


def flat(*levels, side=8):
    """Grey pictures [F, side, side, 3] of these levels."""
    return np.array(levels, np.uint8)[:, None, None, None] * np.ones((side, side, 3), np.uint8)


def faces(shown, true):
    """[F, 2, 4] of two films' [F, 4]."""
    return np.stack([np.asarray(shown, float), np.asarray(true, float)], 1)


def talking(openness, eyes=100.0):
    """[F, 4]: a head at rest whose lips open."""
    return np.stack([np.full(len(openness), eyes), *np.full((2, len(openness)), 50.0), openness], 1)


def test_l1():
    assert l1(torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 0.25)).tolist() == [0.25, 0.25]


def test_cosine():
    found = cosine(np.array([[1.0, 0], [0, 2], [3, 3], [0.3, 0.7]]), np.array([[1.0, 0]]))
    assert found == pytest.approx([1, 0, math.sqrt(0.5), 0.3 / math.sqrt(0.58)])
    odd = np.array([[0.1, 0.7, -0.3]])
    assert cosine(odd, odd).tolist() == [1.0]


def test_pose_distance_is_in_radians():
    """One degree of one angle, of three."""
    assert pose_distance(np.array([[10.0, -3, 2]]), np.array([[11.0, -3, 2]])) == pytest.approx([math.pi / 180 / 3])


def test_mean_distance():
    assert mean_distance(np.array([[0.0, 1, 0.5, 0]]), np.array([[1.0, 1, 0, 0]])).tolist() == [0.375]


def test_frechet_distance_of_one_number():
    """Of normal distributions on a line: (difference of means)^2 + (difference of deviations)^2."""
    a = np.array([[0.0], [2.0]])  # mean 1, variance 2
    b = np.array([[4.0], [10.0]])  # mean 7, variance 18
    assert frechet_distance(a, b) == pytest.approx(36 + (math.sqrt(18) - math.sqrt(2)) ** 2)
    assert frechet_distance(a, a) == 0


def test_frechet_distance_of_correlated_numbers():
    """Both covariances have the axes (1, 1) and (1, -1); along each it is as on a line."""
    a, b = np.array([[1.0, 1], [-1, -1], [1, -1], [-1, 1]]), np.array([[3.0, 3], [-3, -3], [1, -1], [-1, 1]])
    along = math.sqrt(36 / 3) - math.sqrt(4 / 3)  # deviations along (1, 1)
    assert frechet_distance(a, b) == pytest.approx(along**2)
    assert frechet_distance(a + np.array([3, 4]), b) == pytest.approx(along**2 + 25)


def test_tlp():
    """The result's level changes by 20 and 0, the other's by 10 and 30: of a distance of levels, 10 and 30."""

    def distance(a, b):
        return (b.astype(float) - a).mean((1, 2, 3)) / 255

    window = FilmWindow(0, flat(0, 20, 20), flat(100, 110, 140))
    found = read_changes(window, distance)
    assert np.isnan(found[0])
    assert found[1:] == pytest.approx([1000 * 10 / 255, 1000 * 30 / 255])
    later = read_changes(FilmWindow(3, flat(30), flat(140), before=(flat(20), flat(140))), distance)
    assert later == pytest.approx([1000 * 10 / 255])


def test_shake_is_blind_to_steady_motion():
    places = np.array([[0.0, 0], [3, 4], [6, 8], [9, 12]])
    assert shake(places)[1:-1].tolist() == [0, 0]
    places[2] += [6, 8]
    assert shake(places)[1:-1] == pytest.approx([10 / math.sqrt(6), 20 / math.sqrt(6)])


def test_shake_of_independent_errors_is_their_deviation():
    noise = np.random.default_rng(0).normal(0, 2, (20000, 1))
    assert np.sqrt(np.nanmean(shake(noise) ** 2)) == pytest.approx(2, rel=0.03)


def test_jitter_is_relative_to_the_eyes_and_to_the_other_film():
    calm = talking([0.0] * 5)
    shaken = calm.copy()
    shaken[2, 0] += 6
    shaken[2, 1] += 12
    assert jitter(faces(calm, calm), EYES).value == 0
    mean_eyes = 506 / 5
    # second differences 6, -12, 6 of the eyes and 12, -24, 12 of the centre
    assert jitter(faces(shaken, calm), EYES).value == pytest.approx(1000 * 8 / math.sqrt(6) / mean_eyes)
    assert jitter(faces(shaken, calm), CENTRE).value == pytest.approx(1000 * 16 / math.sqrt(6) / mean_eyes)
    assert jitter(faces(calm, shaken), EYES).value == pytest.approx(-1000 * 8 / math.sqrt(6) / mean_eyes)


def test_jitter_without_faces_has_a_reason():
    blind = np.full((5, 4), np.nan)
    assert "no face" in jitter(faces(blind, talking([0.0] * 5)), EYES).why
    now_and_then = talking([0.0] * 6)
    now_and_then[1::2] = np.nan
    assert "follow each other" in jitter(faces(now_and_then, talking([0.0] * 6)), EYES).why


def test_colours():
    colours = mean_colours(flat(255, 0))
    assert colours[0] == pytest.approx([100, 0, 0], abs=0.02)
    assert colours[1] == pytest.approx([0, 0, 0])
    both = np.stack([colours, np.zeros_like(colours)], 1)
    assert colour_error(both).frames == pytest.approx([100, 0], abs=0.02)


def test_mean_colour_is_the_mean_of_levels():
    picture = np.concatenate([flat(100), flat(200)], 1)
    assert mean_colours(picture)[0] == pytest.approx(lab(np.full(3, 150 / 255)))


def test_drift_is_what_the_error_of_the_start_has_become():
    """Twice the same tint is no drift; 3 and 4 in two channels later on are 5."""
    colours = np.zeros((7, 2, 3))
    colours[:, 0] = 10
    assert colour_drift(colours).value == 0
    colours[6, 0] += [0, 3, 4]
    assert colour_drift(colours).frames == pytest.approx([0] * 6 + [5])
    assert colour_drift(colours).value == pytest.approx(5 / 7)


def test_sharpness_of_one_bright_pixel():
    """Its Laplacian is -4 in the place, 1 in four others: of nine, mean 0 and mean square 20 / 9."""
    picture = np.zeros((1, 5, 5, 3), np.uint8)
    picture[0, 2, 2] = 255
    assert sharpness(picture) == pytest.approx([math.sqrt(20 / 9)])
    assert sharpness_ratio(np.array([[1.0, 2], [3, 2], [0, 0]])).value == pytest.approx(1)


def test_correlation():
    a = np.array([0.0, 1, 0, 1])
    assert correlation(a, a) == 1
    assert correlation(a, 1 - a) == -1
    assert correlation(a, np.array([0.0, 0, 1, 1])) == 0
    assert math.isnan(correlation(a, np.ones(4)))


def test_lips_that_are_late():
    rng = np.random.default_rng(1)
    spoken = rng.random(60)
    late = np.concatenate([rng.random(3), spoken[:-3]])
    assert lip_sync(faces(talking(spoken), talking(spoken))).value == 1
    assert lip_lag(faces(talking(spoken), talking(spoken))).value == 0
    assert lip_lag(faces(talking(late), talking(spoken))).value == 3
    assert lip_lag(faces(talking(spoken), talking(late))).value == -3
    assert lip_sync(faces(talking(late), talking(spoken))).value < 0.5
    chewing = np.tile([0.0, 1, 0, 0], 12)  # fits every fourth frame: the nearest counts
    assert lip_lag(faces(talking(chewing), talking(chewing))).value == 0


def test_lips_that_cannot_be_judged_have_a_reason():
    still, unseen = talking([0.2] * 20), talking([np.nan] * 20)
    assert "do not move" in lip_sync(faces(still, still)).why
    assert "0 frames" in lip_sync(faces(unseen, still)).why
    assert "0 frames" in lip_lag(faces(unseen, still)).why
    assert math.isnan(lip_sync(faces(still, still)).value)


# --- figures over films


def film(name, *values):
    return FilmNumbers(name, len(values), {"numbers": np.array(values, float)})


def figure(wanted, *films, **more):
    (found,) = figures([Metric("key", "Title", wanted, "numbers", averaged, **more)], films)
    return found


def test_a_single_film_has_the_error_of_its_frames():
    found = figure("least", film("one", 1, 2, 3, np.nan))
    assert (found.value, found.films, found.frames, found.unseen) == (2, 1, 4, 1)
    assert found.error == pytest.approx(1 / math.sqrt(3))


def test_films_count_alike_and_have_the_error_of_their_means():
    found = figure("least", film("one", 1, 1, 1, 1), film("two", 4))
    assert found.value == 2.5
    assert found.error == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("wanted", "order"), [("least", [("b", 0), ("a", 1), ("a", 2)]), ("most", [("a", 0), ("b", 1), ("a", 2)])]
)
def test_worst_frames_are_named_over_all_films(wanted, order):
    found = figure(wanted, film("a", 0.1, 4, 3), film("b", 9, 0.2))
    assert [(frame.film, frame.frame) for frame in found.worst] == order


def test_of_a_ratio_half_is_as_bad_as_double():
    found = figure("one", film("a", 1, 0.4, 2))
    assert [frame.frame for frame in found.worst] == [1, 2, 0]


def test_a_missing_measure_says_why_and_has_no_number():
    found = figure("least", film("a", 1, 2), missing="no network")
    assert (found.value, found.why) == (None, "no network")


def test_a_film_without_a_value_is_left_out_and_said():
    found = figure("least", film("a", 1, 2), film("b", np.nan, np.nan))
    assert found.value == 1.5
    assert found.why.startswith("1 of 2 films: no frame")
