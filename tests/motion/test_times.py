"""Times of frames: the grids of clocks survive nanoseconds, and motions are cut and continued in time."""

from fractions import Fraction

import pytest
import torch

from personalive_core.errors import InputError
from personalive_core.motion.times import (
    SECOND,
    average_rate,
    cut_times,
    duration_at,
    even_times,
    first_from,
    held_times,
    time_at,
    times_of,
    to_nanoseconds,
    to_seconds,
    typical_rate,
    usual_rate,
)

PAUSE = torch.tensor([0, 40, 80, 180_080, 180_120, 180_200]) * 10**6


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(25), Fraction(7, 3)])
@pytest.mark.parametrize("clock", [90000, 24000, 30000, 1000])
def test_any_clocks_grid_is_met_again_after_hours(rate, clock):
    for frame in (1, 2, 3, 999, 500_000):
        tick = round(frame / rate * clock)
        assert round(to_seconds(to_nanoseconds(Fraction(tick, clock))) * clock) == tick
        assert round(to_seconds(to_nanoseconds(frame / rate)) * rate) == frame


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(7, 3), Fraction(16 * SECOND, 3)])
def test_even_times_are_those_of_every_frame_alone(rate):
    """Also where two moments are equally near."""
    assert even_times(50, rate).tolist() == [to_nanoseconds(frame / rate) for frame in range(51)]


def test_even_times_do_not_drift():
    times = even_times(240_000, Fraction(24000, 1001))
    assert (times.dtype, len(times)) == (torch.int64, 240_001)
    assert times[24_000] == 1001 * SECOND
    assert times[-1] == 10_010 * SECOND


def test_times_that_leave_int64_are_refused():
    with pytest.raises(InputError, match="too long to be timed: correct the rate"):
        even_times(10, Fraction(1, 10**12))


def test_times_of_frames_end_with_the_last_ones_duration():
    shown = [(Fraction(1, 3), Fraction(2)), (Fraction(7, 3), Fraction(1, 10))]
    assert times_of(shown, Fraction(25)).tolist() == [333_333_333, 2_333_333_333, 2_433_333_333]
    assert times_of([(Fraction(0), None)], Fraction(25)).tolist() == [0, 40_000_000]


def test_time_and_duration_of_a_frame():
    assert [time_at(PAUSE, frame) for frame in (0, 3)] == [0, Fraction(18008, 100)]
    assert [duration_at(PAUSE, frame) for frame in (0, 2, 4)] == [Fraction(1, 25), 180, Fraction(2, 25)]


@pytest.mark.parametrize(("start", "frame"), [(0, 0), (0.04, 1), (0.0401, 2), (0.081, 3), (180.12, 4), (180.13, 5)])
@pytest.mark.parametrize("offset", [0, 7 * SECOND])
def test_the_first_frame_from_a_start_on(start, frame, offset):
    assert first_from(PAUSE + offset, start) == frame


def test_cut_times_have_an_end_too():
    assert cut_times(PAUSE, 1, 2).tolist() == PAUSE[1:4].tolist()
    assert cut_times(PAUSE, 0, 5).tolist() == PAUSE.tolist()


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (2, [0, 40, 80]),
        (5, [0, 40, 80, 180_080, 180_120, 180_200]),
        (7, [*(PAUSE // 10**6).tolist(), 180_300, 180_400]),
    ],
)
def test_held_times_are_cut_or_go_on(frames, expected):
    assert held_times(PAUSE, frames, Fraction(10)).tolist() == [time * 10**6 for time in expected]


def test_a_pause_changes_the_average_but_not_the_typical_rate():
    assert float(average_rate(PAUSE)) == pytest.approx(5 / 180.2)
    assert typical_rate(PAUSE) == 25
    assert usual_rate(average_rate(PAUSE), PAUSE) == 25
    assert usual_rate(Fraction(24), PAUSE) == 24


@pytest.mark.parametrize(
    "rate", [Fraction(24000, 1001), Fraction(30000, 1001), Fraction(60), Fraction(1), Fraction(1000)]
)
def test_typical_rates_are_the_usual_fractions(rate):
    assert typical_rate(even_times(9, rate)) == rate


@pytest.mark.parametrize(("rate", "kept"), [(Fraction(1, 7), 1), (Fraction(5000), 1000)])
def test_typical_rates_are_those_a_file_may_hold(rate, kept):
    assert typical_rate(even_times(9, rate)) == kept
