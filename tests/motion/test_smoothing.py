"""The One-Euro filter against its equations written out, and its promises."""

import math

import pytest
import torch

from personalive_core.errors import InputError
from personalive_core.motion.smoothing import OneEuroOptions, one_euro


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
