"""The One-Euro filter against its equations written out, and its promises."""

import math
from dataclasses import replace
from fractions import Fraction

import pytest
import torch

from personalive_core.errors import InputError
from personalive_core.motion.smoothing import OneEuroOptions, one_euro, smooth
from personalive_core.motion.types import concat_motion
from tests.motion.samples import motion


def run(samples, options):
    state, filtered = None, []
    for sample in samples:
        state, value = one_euro(state, sample, options)
        filtered.append(value)
    return torch.stack(filtered)


def by_hand(samples, options):
    """The paper's equations for scalars, in its own order."""

    def alpha(cutoff):
        return 1 / (1 + (1 / (2 * math.pi * cutoff)) / (1 / options.rate))

    before, speed, filtered = samples[0], 0.0, [samples[0]]
    for sample in samples[1:]:
        weight = alpha(options.d_cutoff)
        speed = weight * (sample - before) * options.rate + (1 - weight) * speed
        weight = alpha(options.min_cutoff + options.beta * abs(speed))
        before = weight * sample + (1 - weight) * before
        filtered.append(before)
    return filtered


def test_equations_of_the_paper():
    options = OneEuroOptions(rate=30, min_cutoff=0.7, beta=0.3, d_cutoff=1.3)
    samples = torch.randn(40, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 5
    expected = torch.tensor(by_hand(samples.tolist(), options), dtype=torch.float64)
    torch.testing.assert_close(run(samples, options), expected)


def test_first_sample_passes_and_elements_are_independent():
    options = OneEuroOptions(beta=0.5)
    samples = torch.randn(10, 2, 3, generator=torch.Generator().manual_seed(1))
    filtered = run(samples, options)
    assert torch.equal(filtered[0], samples[0])
    torch.testing.assert_close(filtered[:, 1, 2], run(samples[:, 1, 2], options))
    assert not torch.allclose(filtered[1:], samples[1:], atol=1e-3)


def test_jitter_shrinks_at_rest_and_motion_does_not_lag():
    noise = torch.randn(200, generator=torch.Generator().manual_seed(2)) * 0.5
    still = OneEuroOptions(min_cutoff=0.5, beta=0.0)
    assert run(noise, still)[50:].std() < 0.4 * noise[50:].std()

    ramp = torch.arange(100.0)  # 25 degrees a second
    lag = {beta: float((ramp - run(ramp, OneEuroOptions(min_cutoff=0.5, beta=beta)))[-1]) for beta in (0.0, 0.5)}
    assert lag[0.5] < 0.2 * lag[0.0]


def test_state_is_a_value():
    options = OneEuroOptions()
    state, _ = one_euro(None, torch.zeros(7), options)
    _, first = one_euro(state, torch.ones(7), options)
    _, again = one_euro(state, torch.ones(7), options)
    assert torch.equal(first, again)
    assert torch.equal(state.value, torch.zeros(7))


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"min_cutoff": 0}, {"d_cutoff": -1}, {"beta": -0.1}])
def test_options_are_checked(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        OneEuroOptions(**wrong)


def test_a_changed_shape_is_refused():
    state, _ = one_euro(None, torch.zeros(7), OneEuroOptions())
    with pytest.raises(ValueError, match=r"\[7\] as before, got \[4\]"):
        one_euro(state, torch.zeros(4), OneEuroOptions())


def smoothed(moved, options, times=None):
    """Pose and box of all frames, [F, 11]."""
    found = concat_motion(smooth([moved[:3], moved[3:]], options, times))
    return torch.cat([found.pose.angles, found.pose.translation, found.pose.scale, found.box], 1)


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
@pytest.mark.parametrize("clock", [None, 1000], ids=["exact", "mkv"])
def test_even_times_change_no_bit(rate, clock):
    """Exact ones, and those that a container rounded to milliseconds; also around a frame without a face."""
    moved, options = motion(9, valid=[True] * 4 + [False] + [True] * 4), OneEuroOptions(float(rate), 1.0, 0.05)
    times = [frame / rate for frame in range(9)]
    times = [Fraction(round(time * clock), clock) for time in times] if clock else times
    assert torch.equal(smoothed(moved, options, times), smoothed(moved, options))


def test_each_sample_is_filtered_over_its_own_time_step():
    """A film with a pause: at its average rate, every frame would count as if minutes had passed."""
    moved, times = motion(6), [Fraction(n, 25) for n in (0, 1, 2, 3002, 3003, 3004)]
    average = OneEuroOptions(float(5 / times[-1]), 1.0, 0.05)
    rows = torch.cat([moved.pose.angles, moved.pose.translation, moved.pose.scale, moved.box], 1)
    state, expected = None, []
    for index, row in enumerate(rows):
        step = float(times[index] - times[index - 1]) if index else 1.0
        state, value = one_euro(state, row, replace(average, rate=1 / step))
        expected.append(value)
    found = smoothed(moved, average, times)
    assert torch.equal(found, torch.stack(expected))
    left = (found[1:] - rows[1:]).abs() / (found[:-1] - rows[1:]).abs()  # the share of the step that is still to come
    assert left[2].max() < 0.002, "after two minutes, nothing of before is left"
    assert left[[0, 1, 3, 4]].min() > 0.01


@pytest.mark.parametrize("again", [3, 0], ids=["the same", "anew"])
def test_times_that_do_not_rise_are_refused(again):
    """As of frames that a program shows twice, or of a film that it begins anew."""
    times = [Fraction(n, 25) for n in (0, 1, 2, 3, again, 5)]
    with pytest.raises(InputError, match=f"got one at {again / 25:g} s after one at 0.12 s: correct the times, or"):
        smoothed(motion(6), OneEuroOptions(25.0, 1.0, 0.05), times)
