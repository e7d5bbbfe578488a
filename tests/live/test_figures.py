"""The figures of a session from its steps and its page, and what it asks the camera for."""

import json
from dataclasses import asdict

import pytest

from personalive_core.live.figures import KEPT_STEPS, History, StepTaken, figures_of, ranked


def steady(count, seconds, frames=4, pause=0.0):
    history = History()
    for index in range(count):
        history = history.stepped(StepTaken((index + 1) * (seconds + pause), seconds, frames, 3 * seconds))
    return history


def test_a_steady_stream():
    figures = figures_of(steady(20, 0.1, pause=0.06), 20 * 0.16, 4, (2, 7), 3)
    assert figures.fps == pytest.approx(25)
    assert (figures.step_p50, figures.step_p95) == (0.1, 0.1)
    assert figures.period == pytest.approx(0.16)
    assert figures.server_delay == pytest.approx(0.3)
    assert (figures.waiting, figures.replaced, figures.keyframes, figures.steps) == (2, 7, 3, 20)


def test_nothing_is_known_before_the_first_step():
    figures = figures_of(History(), 5.0, 4, (0, 0), 0)
    assert figures.rate == 25
    assert {figures.step_p50, figures.period, figures.server_delay, figures.delay_p50} == {None}
    assert figures.fps == 0
    json.dumps(asdict(figures), allow_nan=False)


@pytest.mark.parametrize(("seconds", "rate"), [(0.01, 60), (0.08, 50), (0.5, 8), (30.0, 2)])
def test_the_rate_is_what_steps_can_take(seconds, rate):
    """Whatever the camera gave: a step's time counts, not the time until the next one."""
    assert steady(5, seconds, pause=1.0).rate(4) == pytest.approx(rate)


def test_one_long_step_changes_no_rate():
    history = steady(9, 0.1).stepped(StepTaken(6.0, 5.0, 4, None))
    assert history.rate(4) == pytest.approx(40)
    assert figures_of(history, 6.0, 4, (0, 0), 0).step_p95 == 5.0


def test_the_first_step_is_forgotten_with_the_second():
    history = History().stepped(StepTaken(30.0, 30.0, 0, None))
    assert history.delay_of(4) > 100
    assert history.stepped(StepTaken(30.1, 0.1, 4, None)).delay_of(4) < 1


def test_expected_delay():
    """The capture of 4 frames, then 4 steps."""
    assert steady(5, 0.1).delay_of(4) == pytest.approx(0.4 + 4 / 25)
    assert steady(5, 3.0).delay_of(4) == pytest.approx(12 + 2)


def test_a_pause_ends_the_rate_of_results():
    assert figures_of(steady(20, 0.1), 2.0 + 60, 4, (0, 0), 0).fps == 0


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.0, 60.0])
def test_the_rate_of_results_is_that_of_whole_steps(seconds):
    """However long the present step has taken."""
    history = steady(8, seconds)
    assert history.fps(8 * seconds) == pytest.approx(4 / seconds)
    assert history.fps(8.9 * seconds) == pytest.approx(4 / seconds)


def test_what_the_page_displayed():
    history = History()
    for index in range(100):
        history = history.displayed((index + 1) / 100, 4, index % 2)
    history = history.displayed(None, 4, 0)
    figures = figures_of(history, 0.0, 4, (0, 0), 0)
    assert (figures.delay_p50, figures.delay_p95) == (0.5, 0.95)
    assert (figures.shown, figures.dropped) == (404, 50)


def test_only_the_last_are_kept():
    history = steady(1000, 0.1)
    assert (len(history.taken), history.steps) == (KEPT_STEPS, 1000)
    assert len(History(delays=(1.0,) * 200).displayed(2.0, 1, 0).delays) == 200


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 2), (0.51, 3), (0.95, 4), (1.0, 4)])
def test_ranks(share, value):
    assert ranked([3, 1, 4, 2], share) == value
