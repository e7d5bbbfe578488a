"""The sampler with a stub for its networks: levels, purity, keyframes, padding, seeds."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch

from personalive_core.backends.personalive.sampling import StreamingSampler, first_bank, novelty, remember
from personalive_core.backends.personalive.types import Reference, StreamConfig
from personalive_core.errors import InputError
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.motion.types import HeadPose, HybridMotion

SIDE = 2  # of the latents
PUBLISHED = StreamConfig()
AT_ONCE = StreamConfig(keyframe_warmup=0)  # keyframes from the first chunk on


@dataclass(frozen=True)
class Stub:
    """Networks that are arithmetic; remembers what they were asked."""

    timesteps: list = field(default_factory=list)  # of every pass
    keyframes: list = field(default_factory=list)  # how many the bank had in every pass, the reference among them
    dtypes: list = field(default_factory=list)

    def denoise(self, x, timesteps, _reference, motion, features):
        assert x.shape[1] == len(timesteps) == motion.face.shape[1] == motion.pose.shape[1]
        self.timesteps.append(timesteps.tolist())
        self.keyframes.append(features[0][0].shape[1])
        self.dtypes.append(x.dtype)
        told = motion.face.mean((2, 3))[..., None, None, None] + features[0][0].mean()
        return predicted(x, timesteps[None, :, None, None, None]) + 0.1 * told.to(x)

    def encode_features(self, latent, _reference):
        token = latent.flatten(1)[:, None]
        return ((token, -token),)


def predicted(x, timestep):
    return 0.3 * x + 0.001 * timestep


def still(frames, value=0.0):
    """Motion of `frames` frames whose embedding is `value` at one place, so that distances are differences of it."""
    face = torch.zeros(1, frames, 32, 16)
    face[..., 0, 0] = value
    return MotionFeatures(face, torch.zeros(1, frames, 1, SIDE, SIDE))


def frames_of(values):
    """Motion of one frame for each of `values`."""
    parts = [still(1, value) for value in values]
    return MotionFeatures(*(torch.cat([getattr(part, n) for part in parts], 1) for n in ("face", "pose")))


@pytest.fixture
def reference():
    pose = HeadPose(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 1))
    valid = torch.ones(1, dtype=torch.bool)
    motion = HybridMotion(torch.zeros(1, 32, 16), torch.zeros(1, 21, 3), pose, torch.zeros(1, 4), valid)
    latent = torch.linspace(-1, 1, 4 * SIDE**2).view(1, 4, SIDE, SIDE)
    token = torch.zeros(1, 1, 4 * SIDE**2)
    return Reference(latent, torch.zeros(1, 1, 768), (), ((token, token),), motion, torch.zeros(21, 3))


def sampler(reference, config=PUBLISHED, seed=7, model=None):
    return StreamingSampler(model or Stub(), reference, seeded_noise(seed), config)


def run(stream, state, motions):
    """The state after `motions`, and the latents of every step."""
    done = []
    for motion in motions:
        state, latents = stream.step(state, motion)
        done.append(latents)
    return state, done


def tensors(state):
    bank = state.keyframes
    features = (tensor for pair in bank.features for tensor in pair)
    return [state.latents, state.motion.face, state.motion.pose, bank.motion, *features]


def same(state, other):
    pairs = zip(tensors(state), tensors(other), strict=True)
    return all(torch.equal(a, b) for a, b in pairs) and state.keyframes.chunks == other.keyframes.chunks


# --- noise levels


def cumulative_alphas():
    return np.cumprod(1 - np.linspace(0.00085**0.5, 0.02**0.5, 1000) ** 2)


def plain_ddim(x, timesteps):
    """One frame from the highest of `timesteps` to clean, with the stub's prediction: equation 12 of 2010.02502."""
    table = cumulative_alphas()
    for i in range(len(timesteps) - 1, -1, -1):
        alpha = table[timesteps[i]]
        below = table[timesteps[i - 1]] if i else 1.0
        eps = predicted(x, timesteps[i])
        x = math.sqrt(below) * (x - math.sqrt(1 - alpha) * eps) / math.sqrt(alpha) + math.sqrt(1 - below) * eps
    return x


CONFIGS = [
    StreamConfig(),
    StreamConfig.of(steps=8),
    StreamConfig.of(steps=2, windows=2),
    StreamConfig.of(steps=6, windows=6, window=2),
    StreamConfig.of(steps=4, windows=2, window=1),
    StreamConfig.of(steps=12, windows=4, window=2),
    StreamConfig.of(steps=1, windows=1),
]


def described(config):
    return f"{len(config.timesteps)} steps, {config.windows} windows of {config.window}"


@pytest.mark.parametrize("config", CONFIGS, ids=described)
def test_every_frame_goes_down_all_levels(config, reference):
    """Since the stub sees each frame alone, the stream must give what plain DDIM gives it, lead-in included."""
    stream = sampler(reference, config)
    _, done = run(stream, stream.start(still(config.lookahead)), [still(config.window)] * (config.windows + 2))
    shape = (1, config.window, 4, SIDE, SIDE)
    started = stream.noise(-1, torch.Size((1, config.lookahead, 4, SIDE, SIDE)))
    for place, latents in enumerate(done):
        entered = place - config.windows + 1  # the chunk in which this window came; below 0: at the start
        steps = config.timesteps if entered >= 0 else config.timesteps[: (place + 1) * config.substeps]
        first = place * config.window
        noise = stream.noise(entered, torch.Size(shape)) if entered >= 0 else started[:, first : first + config.window]
        alpha = cumulative_alphas()[steps[-1]]
        x = math.sqrt(alpha) * reference.latent[:, None].double() + math.sqrt(1 - alpha) * noise.double()
        torch.testing.assert_close(latents.double(), plain_ddim(x, steps), rtol=1e-4, atol=1e-3)


def test_published_levels_oldest_window_first(reference):
    stub = Stub()
    stream = sampler(reference, model=stub)
    run(stream, stream.start(still(12)), [still(4)])
    assert stub.timesteps == [[0] * 4 + [333] * 4 + [666] * 4 + [999] * 4]


def test_eight_steps_are_two_passes_of_each_window(reference):
    stub = Stub()
    stream = sampler(reference, StreamConfig.of(steps=8, window=1), model=stub)
    run(stream, stream.start(still(3)), [still(1)])
    assert stub.timesteps == [[143, 428, 714, 999], [0, 285, 571, 856]]


def test_two_frames_by_hand(reference):
    """Two windows of one frame, all numbers written out: x = sqrt(a) z + sqrt(1 - a) n, and DDIM's step."""

    @dataclass(frozen=True)
    class Constant(Stub):
        def denoise(self, x, *_):
            return torch.full_like(x, 0.5)

    config = StreamConfig(window=1, timesteps=(100, 900))
    z = replace(reference, latent=torch.ones(1, 4, SIDE, SIDE))
    stream = StreamingSampler(Constant(), z, lambda _, shape: torch.full(shape, 2.0), config)
    low, high = (float(cumulative_alphas()[t]) for t in config.timesteps)
    state = stream.start(still(1))
    assert state.latents.unique().item() == pytest.approx(low**0.5 + 2 * (1 - low) ** 0.5, rel=1e-5)
    state, done = stream.step(state, still(1))
    clean = (low**0.5 + 2 * (1 - low) ** 0.5 - 0.5 * (1 - low) ** 0.5) / low**0.5
    assert done.unique().item() == pytest.approx(clean, rel=1e-5)
    guess = (high**0.5 + 2 * (1 - high) ** 0.5 - 0.5 * (1 - high) ** 0.5) / high**0.5
    left = low**0.5 * guess + 0.5 * (1 - low) ** 0.5
    assert state.latents.unique().item() == pytest.approx(left, rel=1e-4)


def test_spread_of_step_counts():
    assert StreamConfig.of().timesteps == StreamConfig().timesteps == (0, 333, 666, 999)
    assert StreamConfig.of(steps=8).timesteps == (0, 143, 285, 428, 571, 714, 856, 999)
    assert (StreamConfig.of(steps=8).windows, StreamConfig.of(steps=8).lookahead) == (4, 12)
    assert (StreamConfig.of(steps=6, windows=6, window=2).windows, StreamConfig().lookahead) == (6, 12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: StreamConfig.of(steps=6),
        lambda: StreamConfig.of(steps=2),
        lambda: StreamConfig(window=0),
        lambda: StreamConfig(timesteps=(999, 0)),
        lambda: StreamConfig(timesteps=(0, 0)),
        lambda: StreamConfig(timesteps=()),
        lambda: StreamConfig(timesteps=(0, 500, 999), substeps=2),
    ],
)
def test_impossible_configurations(make):
    with pytest.raises((ValueError, InputError), match=r"must|steps"):
        make()


@pytest.mark.parametrize("steps", [1004, 100_000])
def test_more_steps_than_noise_levels(steps):
    """One sentence, which does not list them."""
    assert len(StreamConfig.of(steps=1000).timesteps) == 1000
    with pytest.raises(InputError, match=f"^{steps} steps are more than the 1000 noise levels: use at most 1000$"):
        StreamConfig.of(steps)


def test_lead_in_must_fill_the_window(reference):
    with pytest.raises(ValueError, match="expected 12 lead-in frames, got 11"):
        sampler(reference).start(still(11))


def test_latents_in_flight_stay_float32_under_half_precision_networks(reference):
    stub = Stub()
    stream = sampler(replace(reference, latent=reference.latent.bfloat16()), model=stub)
    state, done = run(stream, stream.start(still(12)), [still(4)])
    assert stub.dtypes == [torch.float32]
    assert state.latents.dtype == done[0].dtype == torch.float32


# --- state and randomness


def test_step_changes_none_of_its_inputs(reference):
    stream = sampler(reference, AT_ONCE)
    state, _ = run(stream, stream.start(frames_of([30.0 * i for i in range(12)])), [still(4, 9.0)])
    motion = still(4, 500.0)
    before = [t.clone() for t in [*tensors(state), motion.face, motion.pose]]
    after, _ = stream.step(state, motion)
    assert (state.chunk, after.chunk, state.frames, after.frames) == (1, 2, 4, 8)
    assert len(after.keyframes) == len(state.keyframes) + 1
    assert all(torch.equal(a, b) for a, b in zip(before, [*tensors(state), motion.face, motion.pose], strict=True))


def test_state_cannot_be_assigned_to(reference):
    state = sampler(reference).start(still(12))
    with pytest.raises(AttributeError):
        state.chunk = 3


def test_paused_stream_goes_on_bit_for_bit(reference):
    config = StreamConfig(keyframe_warmup=2)
    motions = [still(4, 25.0 * i) for i in range(9)]
    whole = sampler(reference, config)
    end, done = run(whole, whole.start(still(12)), motions)
    first = sampler(reference, config)
    paused, before = run(first, first.start(still(12)), motions[:4])
    resumed, after = run(sampler(reference, config), paused, motions[4:])
    assert same(resumed, end)
    assert all(torch.equal(a, b) for a, b in zip([*before, *after], done, strict=True))


def test_seeds_differ_and_repeat(reference):
    def result(seed):
        stream = sampler(reference, seed=seed)
        return run(stream, stream.start(still(12)), [still(4)] * 5)[1][-1]

    assert torch.equal(result(1), result(1))
    assert not torch.equal(result(1), result(2))


def test_noise_is_a_function_of_seed_and_chunk_alone():
    shape = torch.Size((2, 3))
    noise = seeded_noise(5)
    late, early = noise(40, shape), noise(0, shape)
    assert torch.equal(seeded_noise(5)(0, shape), early)
    assert torch.equal(seeded_noise(5)(40, shape), late)
    draws = [seeded_noise(seed)(chunk, shape) for seed, chunk in ((5, 0), (5, 1), (6, 0), (1, 11), (11, 1), (5, -1))]
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == len(draws)
    many = seeded_noise(0)(0, torch.Size((100_000,)))
    assert abs(many.mean()) < 0.02
    assert abs(many.std() - 1) < 0.02


def test_global_generators_are_left_alone(reference):
    torch.manual_seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    stream = sampler(reference)
    run(stream, stream.start(still(12)), [still(4)] * 3)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all()


# --- historical keyframes


def keyframes_after(reference, values, config=AT_ONCE, model=None):
    """The bank after a stream of windows whose embedding is one of `values` each, and the latents of every step."""
    held = [value for value in values for _ in range(config.window)]
    stream = sampler(reference, config, model=model)
    state = stream.start(frames_of(held[: config.lookahead]))
    rest = held[config.lookahead :]
    pieces = [rest[i : i + config.window] for i in range(0, len(rest), config.window)]
    state, done = run(stream, state, [frames_of(piece) for piece in pieces])
    return state.keyframes, done


@pytest.mark.parametrize(("distance", "joins"), [(16.99, False), (17.01, True)])
def test_keyframes_join_beyond_a_distance_of_17(distance, joins, reference):
    bank, _ = keyframes_after(reference, [distance, *[0.0] * 3])
    assert bank.chunks == ((0,) if joins else ())


def test_distance_is_to_the_nearest_of_the_bank(reference):
    """20 joins; then 30 is near 20, -10 is near the reference, 40 is far from both."""
    bank, _ = keyframes_after(reference, [20.0, 30.0, -10.0, 40.0, 0.0, 0.0, 0.0])
    assert bank.chunks == (0, 3)
    assert novelty(bank, still(1, 33.0).face).item() == pytest.approx(7)


def test_first_keyframe_joins_in_the_tenth_chunk(reference):
    bank, _ = keyframes_after(reference, [50.0] * 15, PUBLISHED)
    assert bank.chunks == (9,)


def test_bank_is_capped_at_the_reference_and_three(reference):
    bank, _ = keyframes_after(reference, [20.0 * (i + 1) for i in range(12)])
    assert bank.chunks == (0, 1, 2)
    assert len(bank) == 4


def test_keyframes_stand_behind_the_reference_in_the_order_they_joined(reference):
    bank, done = keyframes_after(reference, [40.0, 20.0, 60.0, *[0.0] * 3])
    assert bank.motion[0, :, 0, 0].tolist() == [0, 40, 20, 60]
    ((keys, values),) = bank.features
    expected = torch.stack([torch.zeros(4 * SIDE**2), *(latents[0, 0].flatten() for latents in done[:3])])
    assert torch.equal(keys[0], expected)  # each the first frame of the window that its step finished
    assert torch.equal(values[0], -expected)


def test_keyframes_serve_later_chunks_only(reference):
    stub = Stub()
    keyframes_after(reference, [40.0, 0.0, 80.0, *[0.0] * 4], model=stub)
    assert stub.keyframes == [1, 2, 2, 3]


def test_only_the_first_frame_of_a_window_is_looked_at(reference):
    stream = sampler(reference, AT_ONCE)
    state = stream.start(frames_of([0, 99, 99, 99, 99, 0, 0, 0, 0, 0, 0, 0]))
    state, _ = run(stream, state, [still(4)])
    assert state.keyframes.chunks == ()
    state, _ = run(stream, state, [still(4)])
    assert state.keyframes.chunks == (1,)


def test_stream_may_start_with_keyframes(reference):
    stub = Stub()
    stream = sampler(reference, model=stub)
    token = torch.ones(1, 1, 4 * SIDE**2)
    bank = remember(first_bank(reference), still(1, 5.0).face, ((token, token),), -1)
    state, _ = run(stream, stream.start(still(12), bank), [still(4)])
    assert stub.keyframes == [2]
    assert state.keyframes is bank


# --- as many frames out as in


@pytest.mark.parametrize("config", [StreamConfig(), StreamConfig.of(steps=2, windows=2, window=3)], ids=["4x4", "2x3"])
@pytest.mark.parametrize("frames", range(1, 14))
def test_frames_out_are_frames_in(frames, config, reference):
    """The lead-in is dropped, the end is flushed, whatever the remainder."""
    stream = sampler(reference, config)
    state = stream.start(still(config.lookahead))
    out, steps = [], 0
    for first in range(0, frames, config.window):
        state, latents = stream.step(state, still(min(config.window, frames - first)))
        out += stream.finished(state)
    while not stream.drained(state):
        state, latents = stream.step(state, still(0))
        out += stream.finished(state)
        steps += 1
    assert out == list(range(frames))
    assert state.frames == frames
    assert steps == config.windows - 1
    assert latents.shape == (1, config.window, 4, SIDE, SIDE)


@pytest.mark.parametrize("ended", [[1], [4, 3], [4, 0], [0]], ids=str)
def test_no_motion_follows_the_end(ended, reference):
    """It would come behind the repeated frames: pictures of them would be taken for its own, and its last be lost."""
    stream = sampler(reference)
    state, _ = run(stream, stream.start(still(12)), [still(frames) for frames in ended])
    with pytest.raises(InputError, match=f"up to its driving's end, frame {sum(ended)}, .*: go on from a state before"):
        stream.step(state, still(1))
    assert stream.step(state, still(0))[0].frames == sum(ended)


def test_padding_repeats_the_last_frame(reference):
    stream = sampler(reference)
    state, _ = run(stream, stream.start(still(12)), [frames_of([1.0, 2.0])])
    assert state.motion.face[0, -4:, 0, 0].tolist() == [1, 2, 2, 2]
    state, _ = run(stream, state, [still(0)])
    assert state.motion.face[0, -5:, 0, 0].tolist() == [2, 2, 2, 2, 2]
    assert state.motion.pose.shape[1] == 12
