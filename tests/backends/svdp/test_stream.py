"""Fusion of signals, sampling, and segments of any length, with velocities that are known."""

from dataclasses import replace

import pytest
import torch

from personalive_core.backends.svdp.check import PROOF_SIZES, proof_clip, proof_model, with_random_output
from personalive_core.backends.svdp.fusion import fused, fused_velocity, fusion_branches
from personalive_core.backends.svdp.stream import SegmentOptions, euler, stream_segments
from personalive_core.backends.svdp.types import FusionScales
from personalive_core.errors import InputError

CELLS = (2, 4, 4)


def driving(count):
    """Frames whose every cell holds the frame's number, from 1."""
    return [torch.full(CELLS, float(number + 1)) for number in range(count)]


def test_fusion_adds_what_each_signal_adds():
    u, s, d, p = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = u + 2 * (s - u) + 2.5 * (d - s) + 1 * (p - d)
    assert (fused([u, s, d, p], FusionScales()) - expected).abs().max() < 1e-6
    assert (fused([u, s, d], FusionScales()) - (u + 2 * (s - u) + 2.5 * (d - s))).abs().max() < 1e-6
    other = FusionScales(source=1.5, driving=0.5, history=3.0)
    expected = u + 1.5 * (s - u) + 0.5 * (d - s) + 3 * (p - d)
    assert (fused([u, s, d, p], other) - expected).abs().max() < 1e-6


def test_scales_of_one_give_the_last_exactly():
    u, s, d, p = torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)) * 1e3
    ones = FusionScales(1.0, 1.0, 1.0)
    assert torch.equal(fused([u, s, d, p], ones), p)
    assert torch.equal(fused([u, s, d], ones), d)


def test_without_history_three_calls_are_the_four():
    """p = d: the history's share is nothing."""
    u, s, d = torch.randn(3, 3, 5, generator=torch.Generator().manual_seed(0))
    assert (fused([u, s, d], FusionScales()) - fused([u, s, d, d], FusionScales(history=7.0))).abs().max() < 1e-5


def given(branch):
    """What a branch is given: source, driving, history."""
    return bool(branch.source.any()), bool(branch.driving.any()), branch.history is not None


def test_each_branch_has_all_before_it():
    conditions = proof_clip(PROOF_SIZES)[1]
    signals = [(False, False, False), (True, False, False), (True, True, False), (True, True, True)]
    assert [given(branch) for branch in fusion_branches(conditions)] == signals
    assert [given(branch) for branch in fusion_branches(conditions.without_history())] == signals[:3]


def test_the_model_is_called_for_each_branch():
    model = with_random_output(proof_model(PROOF_SIZES))
    noisy, conditions = proof_clip(PROOF_SIZES)
    timestep, scales = torch.tensor([700.0, 250.0]), FusionScales(1.5, 0.5, 3.0)
    with torch.inference_mode():
        u, s, d, p = (model(noisy, timestep, branch) for branch in fusion_branches(conditions))
        found = fused_velocity(model, noisy, timestep, conditions, scales)
    assert (found - (u + 1.5 * (s - u) + 0.5 * (d - s) + 3 * (p - d))).abs().max() < 1e-4
    assert not torch.equal(p, d)


def test_the_sampler_follows_a_straight_flow_to_its_end():
    clean, noise = torch.randn(2, 1, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    seen = []

    def velocity(noisy, timestep):
        seen.append(float(timestep[0]))
        level = timestep[0] / 1000
        assert (noisy - ((1 - level) * clean + level * noise)).abs().max() < 1e-4
        return noise - clean

    assert (euler(velocity, noise, 5, 3.0) - clean).abs().max() < 1e-5
    assert seen[0] == 1000
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5
    early, seen = seen, []
    euler(velocity, noise, 5, 1.0)
    assert all(one > other for one, other in zip(early[1:], seen[1:], strict=True))  # the shift stays in the noise


class Sampled:
    """A velocity that leads to the driving itself, and remembers the conditions."""

    def __init__(self):
        self.conditions = []

    def __call__(self, noisy, timestep, conditions):
        if not self.conditions or conditions.driving.any():
            self.conditions.append(conditions)
        return (noisy - conditions.driving) / (timestep.view(-1, 1, 1, 1, 1) / 1000)


ONE_STEP = SegmentOptions(steps=1, scales=FusionScales(1.0, 1.0, 1.0))


@pytest.mark.parametrize(("count", "sizes"), [(0, []), (1, [1]), (16, [16]), (35, [16, 16, 3])])
def test_any_length_gives_as_many_frames(count, sizes):
    segments = list(stream_segments(Sampled(), torch.ones(CELLS), driving(count), ONE_STEP))
    assert [len(segment) for segment in segments] == sizes
    if count:
        assert torch.allclose(torch.cat(segments), torch.stack(driving(count)), atol=1e-5)


def test_each_segment_begins_with_the_last_three_of_the_one_before():
    velocity = Sampled()
    segments = list(stream_segments(velocity, torch.ones(CELLS), driving(40), ONE_STEP))
    with_history = [conditions for conditions in velocity.conditions if conditions.history]
    assert len(with_history) == 2
    for before, conditions in zip(segments, with_history, strict=False):
        assert torch.equal(conditions.history.latents[0], before[-3:])
    numbers = [conditions.history.driving[0, :, 0, 0, 0].tolist() for conditions in with_history]
    assert numbers == [[14, 15, 16], [30, 31, 32]]
    assert all(conditions.driving.shape[1] == 16 for conditions in velocity.conditions)
    assert with_history[1].driving[0, :, 0, 0, 0].tolist() == [*range(33, 41)] + [40] * 8


def test_each_segment_has_noise_of_its_own():
    starts = []

    def velocity(noisy, _, conditions):
        starts.append(noisy)
        return noisy - conditions.driving

    list(stream_segments(velocity, torch.ones(CELLS), driving(32), ONE_STEP))
    assert torch.equal(starts[0], starts[1])  # the branches of one segment start alike
    assert not torch.equal(starts[0], starts[-1])


def test_never_more_than_a_segment_is_read_ahead():
    read = []

    def frames():
        for number, frame in enumerate(driving(48)):
            read.append(number)
            yield frame

    segments = stream_segments(Sampled(), torch.ones(CELLS), frames(), ONE_STEP)
    for done in (16, 32, 48):
        next(segments)
        assert len(read) == done


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_model_streams_and_the_seed_decides(dtype):
    model = with_random_output(proof_model(PROOF_SIZES)).to(dtype)
    generator = torch.Generator().manual_seed(0)
    source, films = (torch.randn(*shape, generator=generator).to(dtype) for shape in ((4, 4, 4), (18, 4, 4, 4)))
    options = SegmentOptions(steps=2)
    one, two, other = (
        torch.cat(list(stream_segments(model, source, films, replace(options, seed=seed)))) for seed in (0, 0, 1)
    )
    assert (one.shape, one.dtype) == ((18, 4, 4, 4), dtype)
    assert one.isfinite().all()
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("options", [{"steps": 0}, {"shift": 0.0}])
def test_options_that_sample_nothing_are_refused(options):
    with pytest.raises(InputError, match="try 40 and 3"):
        SegmentOptions(**options)
