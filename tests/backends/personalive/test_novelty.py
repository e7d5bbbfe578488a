"""The novelty curve against the sampler itself."""

import numpy as np
import pytest
import torch

from personalive_core.backends.personalive.novelty import novelty_curve
from personalive_core.backends.personalive.sampling import StreamingSampler, first_bank, remember
from personalive_core.backends.personalive.types import Reference, StreamConfig
from personalive_core.errors import InputError
from personalive_core.media.chart import DETAIL
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.motion.plot import motion_plot
from tests.motion.plot_samples import COLOURS, places, still


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("size", [(1024, 640), (400, 300)])
def test_few_frames_and_sizes(frames, size):
    motion = still(frames, yaw=3)
    plot = motion_plot(motion, novelty_curve(motion.embedding, StreamConfig()).points, 30, 17, [0], size)
    assert (plot.shape, plot.dtype) == ((size[1], size[0], 3), np.uint8)
    assert places(plot, COLOURS["yaw"])[0].size > 3 * DETAIL


class Stub:
    """Networks that predict no noise."""

    def denoise(self, x, *_):
        return torch.zeros_like(x)

    def encode_features(self, _latent, _reference):
        return NO_TOKENS


NO_TOKENS = ((torch.zeros(1, 1, 4), torch.zeros(1, 1, 4)),)


def sampled(embedding, config, reference, fixed=()):
    """Driving frames that become keyframes when the sampler itself runs; those of the lead-in left out."""
    own = still(1)
    own.embedding[:] = reference
    stream = StreamingSampler(
        Stub(),
        Reference(torch.zeros(1, 4, 2, 2), torch.zeros(1, 1, 768), (), NO_TOKENS, own, torch.zeros(21, 3)),
        seeded_noise(0),
        config,
    )
    bank = first_bank(stream.reference)
    for keyframe in fixed:
        bank = remember(bank, keyframe[None, None], NO_TOKENS, -1)
    weights = (torch.arange(config.lookahead) / max(config.lookahead, 1))[:, None, None]
    lead = (1 - weights) * reference + weights * embedding[:1]

    def features(part):
        return MotionFeatures(part[None], torch.zeros(1, len(part), 1, 2, 2))

    state = stream.start(features(lead), bank)
    for first in range(0, len(embedding), config.window):
        state, _ = stream.step(state, features(embedding[first : first + config.window]))
    while not stream.drained(state):
        state, _ = stream.step(state, features(embedding[:0]))
    joined = (config.window * (chunk - config.windows + 1) for chunk in state.keyframes.chunks if chunk >= 0)
    return tuple(frame for frame in joined if frame >= 0)


def wandering(frames, seed, stride=2.0):
    """Embeddings that wander off and come back."""
    steps = torch.randn(frames, 32, 16, generator=torch.Generator().manual_seed(seed))
    return steps.cumsum(0) * stride / 10


CONFIGS = {
    "published": StreamConfig(),
    "no warm-up": StreamConfig(keyframe_warmup=0, max_keyframes=6),
    "low threshold": StreamConfig(keyframe_distance=5, keyframe_warmup=4, max_keyframes=9),
    "two windows of 3": StreamConfig(window=3, timesteps=(0, 999), keyframe_warmup=2),
    "one window": StreamConfig(window=2, timesteps=(999,), keyframe_warmup=1),
    "reference alone": StreamConfig(max_keyframes=1),
}


@pytest.mark.parametrize("frames", [1, 5, 61, 120])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_keyframes_are_those_of_the_sampler(config, frames):
    for seed in range(4):
        embedding, reference = wandering(frames, seed), wandering(1, seed + 100)
        curve = novelty_curve(embedding, config, reference)
        assert curve.keyframes == sampled(embedding, config, reference)
        assert curve.frames == tuple(range(0, frames, config.window))
        assert len(curve.values) == len(curve.frames)


def test_the_comparison_above_has_keyframes_to_compare():
    counts = [len(novelty_curve(wandering(120, 0), config, wandering(1, 100)).keyframes) for config in CONFIGS.values()]
    assert counts[-1] == 0
    assert sum(count > 0 for count in counts[:-1]) >= 4, counts


def test_fixed_keyframes_count_as_the_sampler_counts_them():
    config = StreamConfig(keyframe_warmup=0, keyframe_distance=8, max_keyframes=5)
    embedding, known = wandering(120, 1), wandering(3, 7, stride=10)
    curve = novelty_curve(embedding, config, known)
    assert curve.keyframes == sampled(embedding, config, known[:1], known[1:])
    assert 0 < len(curve.keyframes) <= 2


def test_keyframes_of_the_lead_in_take_their_place():
    """Far from the reference even the way to the first driving frame is new, where no warm-up forbids it."""
    config = StreamConfig(keyframe_warmup=0, keyframe_distance=5, max_keyframes=4)
    embedding, reference = wandering(60, 2), wandering(1, 5) + 1
    keyframes = novelty_curve(embedding, config, reference).keyframes
    assert keyframes == sampled(embedding, config, reference)
    assert keyframes == (0,)


def test_values_are_distances_to_the_nearest_in_the_bank():
    embedding = torch.zeros(24, 32, 16)
    embedding[:, 0, 0] = torch.tensor([0.0, 10, 20, 30, 25, 2]).repeat_interleave(4)
    curve = novelty_curve(embedding, StreamConfig(keyframe_warmup=0))
    assert curve.values == pytest.approx((0, 10, 20, 10, 5, 2))
    assert curve.keyframes == (8,)
    assert curve.points[2] == (8, pytest.approx(20))


def test_without_a_reference_the_first_frame_is_it():
    embedding = wandering(40, 3)
    config = StreamConfig(keyframe_distance=3)
    assert novelty_curve(embedding, config) == novelty_curve(embedding, config, embedding[:1])


def test_no_frames_have_no_novelty():
    with pytest.raises(InputError, match="no frame"):
        novelty_curve(torch.zeros(0, 32, 16), StreamConfig())
