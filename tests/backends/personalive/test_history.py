"""History across windows: which frames stand before those in flight, as what, after a pause, and at any speed."""

import logging
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from personalive_core.backends.personalive.model import PersonaLive
from personalive_core.backends.personalive.sampling import StreamingSampler, first_bank, frame_levels
from personalive_core.backends.personalive.speed.choice import COMPILED
from personalive_core.backends.personalive.speed.runner import with_speed
from personalive_core.backends.personalive.state_file import load_state, save_state
from personalive_core.backends.personalive.stream import Lane, advance, check_history
from personalive_core.backends.personalive.types import Reference, StreamConfig, StreamHistory, StreamState
from personalive_core.errors import InputError
from personalive_core.modules.fusion import Fusion
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.modules.unet import UNet, UNetConfig
from personalive_core.motion.types import HeadPose, HybridMotion
from personalive_core.text import warn_once
from tests.backends.personalive.test_speed import tools

SIDE = 2  # of the latents
WITH_THREE = StreamConfig(history=3)
SMALL = StreamConfig(window=2, timesteps=(0, 999), history=3)  # 4 frames in flight


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@dataclass(frozen=True)
class Mixing:
    """Networks that are arithmetic: each frame's noise depends on all frames; remembers what it was given."""

    given: list = field(default_factory=list)  # (x, timesteps, face) of each pass

    def denoise(self, x, timesteps, _reference, motion, features):
        assert x.shape[1] == len(timesteps) == motion.face.shape[1] == motion.pose.shape[1]
        self.given.append((x.clone(), timesteps.tolist(), motion.face[0, :, 0, 0].tolist()))
        told = motion.face.mean((2, 3))[..., None, None, None] + features[0][0].mean()
        return 0.3 * x + 0.1 * x.mean(1, keepdim=True) + 0.1 * told

    def encode_features(self, latent, _reference):
        token = latent.flatten(1)[:, None]
        return ((token, -token),)


def numbered(first, frames):
    """Motion of `frames` frames that knows its number."""
    face = torch.arange(first, first + frames).float()[None, :, None, None].expand(1, frames, 32, 16)
    return MotionFeatures(face, torch.zeros(1, frames, 1, SIDE, SIDE))


@pytest.fixture
def reference():
    pose = HeadPose(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 1))
    motion = HybridMotion(torch.zeros(1, 32, 16), torch.zeros(1, 21, 3), pose, torch.zeros(1, 4), torch.ones(1) > 0)
    token = torch.zeros(1, 1, 4 * SIDE**2)
    latent = torch.linspace(-1, 1, 4 * SIDE**2).view(1, 4, SIDE, SIDE)
    return Reference(latent, torch.ones(1, 1, 768), (token,), ((token, token),), motion, torch.zeros(21, 3))


def sampler(reference, config, model=None):
    return StreamingSampler(model or Mixing(), reference, seeded_noise(7), config)


def run(stream, steps, state=None):
    """The states after each of `steps` steps, whose frames are numbered from the lead-in on, and their latents."""
    states, done, (window, lookahead) = [], [], (stream.config.window, stream.config.lookahead)
    state = state or stream.start(numbered(0, lookahead))
    for _ in range(steps):
        state, latents = stream.step(state, numbered(lookahead + window * state.chunk, window))
        states, done = [*states, state], [*done, latents]
    return states, done


# the frames before those in flight


@pytest.mark.parametrize(("history", "counts"), [(3, [0, 3, 3, 3]), (6, [0, 4, 6, 6]), (1, [0, 1, 1, 1])])
def test_the_last_finished_frames_stand_clean_before_those_in_flight(reference, history, counts):
    model = Mixing()
    states, done = run(sampler(reference, StreamConfig(history=history), model), 4)
    finished = torch.cat(done, 1)
    levels = [0] * 4 + [333] * 4 + [666] * 4 + [999] * 4
    for chunk, ((x, timesteps, face), count) in enumerate(zip(model.given, counts, strict=True)):
        assert timesteps == [0] * count + levels
        assert face == [*range(4 * chunk - count, 4 * chunk + 16)]  # each with its own motion, oldest first
        assert torch.equal(x[:, :count], finished[:, 4 * chunk - count : 4 * chunk])
        if chunk:
            assert torch.equal(x[:, count : count + 12], states[chunk - 1].latents)
    assert torch.equal(states[-1].history.latents, finished[:, -history:])
    assert states[-1].latents.shape[1] == 12
    assert all(latents.shape[1] == 4 for latents in done)


def test_every_pass_of_a_step_sees_the_same_history(reference):
    model = Mixing()
    states, _ = run(sampler(reference, replace(StreamConfig.of(steps=8, window=1), history=2), model), 3)
    assert [timesteps for _, timesteps, _ in model.given[4:]] == [[0, 0, 143, 428, 714, 999], [0, 0, 0, 285, 571, 856]]
    assert torch.equal(model.given[4][0][:, :2], model.given[5][0][:, :2])
    assert torch.equal(model.given[4][0][:, :2], states[1].history.latents)


def test_finished_and_drained_are_as_without(reference):
    for frames in (1, 4, 6):
        stream = sampler(reference, WITH_THREE)
        state, out = stream.start(numbered(0, 12)), []
        for first in range(0, frames, 4):
            state, _ = stream.step(state, numbered(12 + first, min(4, frames - first)))
            out += stream.finished(state)
        while not stream.drained(state):
            state, _ = stream.step(state, numbered(0, 0))
            out += stream.finished(state)
        assert out == list(range(frames))


def test_keyframes_join_as_without_and_from_the_finished_window(reference):
    config = replace(WITH_THREE, keyframe_warmup=1, keyframe_distance=1.0)
    states, done = run(sampler(reference, config), 3)
    bank = states[-1].keyframes
    assert bank.chunks == (1, 2)
    assert torch.equal(bank.features[0][0][:, 1], done[1][:, 0].flatten(1))


# without it


def test_without_history_a_step_is_the_one_of_before(reference):
    """Written out: one pass that sees the frames in flight alone, whatever history a state may hold."""
    model, config = Mixing(), StreamConfig()
    stream = sampler(reference, config)
    before = stream.start(numbered(0, 12))
    after, done = stream.step(before, numbered(12, 4))
    levels, schedule = frame_levels(config, 0), config.schedule
    x0 = reference.latent[:, None].expand(-1, 4, -1, -1, -1)
    noise = stream.noise(0, x0.shape)
    x = torch.cat([before.latents, schedule.noised(x0, noise, levels[-4:])], 1)
    timesteps = torch.tensor(config.timesteps)[levels]
    eps = model.denoise(x, timesteps, reference, before.motion.then(numbered(12, 4)), reference.features)
    expected = schedule.step(x, eps, levels)
    assert torch.equal(torch.cat([done, after.latents], 1), expected)
    assert after.history is None
    past = StreamHistory(torch.ones(1, 2, 4, SIDE, SIDE), numbered(0, 2))
    other, again = stream.step(replace(before, history=past), numbered(12, 4))
    assert torch.equal(again, done)
    assert other.history is None


# a pause


@pytest.mark.parametrize("pause", [1, 3])
def test_a_saved_stream_goes_on_bit_for_bit(reference, tmp_path, pause):
    whole_states, whole = run(sampler(reference, WITH_THREE), 6)
    states, before = run(sampler(reference, WITH_THREE), pause)
    save_state(tmp_path / "s.safetensors", states[-1])
    resumed = load_state(tmp_path / "s.safetensors")
    states, after = run(sampler(reference, WITH_THREE), 6 - pause, resumed)
    assert all(torch.equal(a, b) for a, b in zip([*before, *after], whole, strict=True))
    assert torch.equal(states[-1].history.latents, whole_states[-1].history.latents)
    assert torch.equal(states[-1].history.motion.face, whole_states[-1].history.motion.face)


def test_a_file_without_history_is_as_before_and_loads(reference, tmp_path):
    (state,), _ = run(sampler(reference, StreamConfig()), 1)
    save_state(tmp_path / "s.safetensors", state)
    keys = load_file(tmp_path / "s.safetensors").keys()
    assert sorted(keys) == ["bank.0.k", "bank.0.v", "bank.motion", "latents", "motion.face", "motion.pose"]
    old = load_state(tmp_path / "s.safetensors")
    assert old.history is None
    states, _ = run(sampler(reference, WITH_THREE), 1, old)  # an older state goes on, with history from here
    assert len(states[-1].history) == 3


def test_half_of_a_history_is_no_history(reference, tmp_path):
    path, (*_, state) = tmp_path / "s.safetensors", run(sampler(reference, WITH_THREE), 2)[0]
    save_state(path, state)
    tensors = load_file(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    shorter = {**tensors, "history.pose": tensors["history.pose"][:, :1].contiguous()}
    without = {key: tensor for key, tensor in tensors.items() if key != "history.latents"}
    for damaged in (shorter, without):
        save_file(damaged, path, metadata)
        with pytest.raises(InputError, match="s.safetensors has a damaged history, .*: save it again"):
            load_state(path)


# limits


@pytest.mark.parametrize(("history", "steps"), [(17, 4), (-1, 4)])
def test_a_history_that_does_not_fit(history, steps):
    with pytest.raises(
        InputError, match=rf"history of {history} frames with 16 in flight .* 32 .*: use a history of 0"
    ):
        replace(StreamConfig.of(steps), history=history)
    assert replace(StreamConfig.of(steps), history=16).history == 16


def test_weights_that_know_no_history_say_so_once(caplog, reference):
    warn_once.cache_clear()
    for _ in range(2):
        check_history(SimpleNamespace(denoising_unet=UNet(UNetConfig((32,), layers=1))), WITH_THREE)
    check_history(SimpleNamespace(denoising_unet=SimpleNamespace(config=UNetConfig(history=3))), WITH_THREE)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "history of 3 frames: these weights were trained with 0"
    chunked = SimpleNamespace(denoising_unet=SimpleNamespace(config=UNetConfig(chunk_frames=4)))
    with pytest.raises(InputError, match="these weights attend within chunks of 4: use a history of 0"):
        check_history(chunked, WITH_THREE)
    check_history(chunked, StreamConfig())
    stream = sampler(reference, WITH_THREE)
    with pytest.raises(InputError, match="within chunks of 4"):
        advance(chunked, stream, stream.start(numbered(0, 12)), numbered(12, 4), Lane())


# a real network, plain and fast

WIDTHS, CELLS = (32, 32), 4


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet(UNetConfig(WIDTHS, layers=1, image_dim=16)).eval()
    return PersonaLive(None, unet, None, None, None, None, None)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


def real_stream(model, config=SMALL):
    """A sampler of a real denoising UNet, whose keyframes stay away, and a state in which three frames are finished."""
    features = tuple((drawn(1, n, 32, seed=1), drawn(1, n, 32, seed=2)) for n in (16, 4, 16, 16))
    own = SimpleNamespace(embedding=torch.zeros(1, 32, 16))
    context = tuple(drawn(1, 1, 32, seed=i) for i in range(4))
    reference = Reference(drawn(1, 4, CELLS, CELLS), drawn(1, 1, 16), context, features, own, None)
    stream = StreamingSampler(model, reference, seeded_noise(0), replace(config, keyframe_warmup=100))
    past = StreamHistory(drawn(1, 3, 4, CELLS, CELLS, seed=5), motion_of(3, 5))
    return stream, StreamState(drawn(1, 2, 4, CELLS, CELLS), motion_of(2, 6), first_bank(reference), history=past)


def motion_of(frames, seed):
    return MotionFeatures(drawn(1, frames, 32, 16, seed=seed), drawn(1, frames, WIDTHS[0], CELLS, CELLS, seed=seed))


@torch.inference_mode()
def emitted(stream, state):
    return stream.step(state, motion_of(2, 9))[1]


def changed(state, part, frame=0):
    """`state` with one frame of its history changed: its latent, or its motion."""
    past = state.history
    latents, face = past.latents.clone(), past.motion.face.clone()
    (latents if part == "latent" else face)[:, frame] *= -3
    return replace(state, history=StreamHistory(latents, MotionFeatures(face, past.motion.pose)))


@pytest.mark.parametrize("part", ["latent", "face"])
def test_history_is_attended(model, part):
    stream, state = real_stream(model)
    plain = emitted(stream, state)
    assert not torch.allclose(plain, emitted(stream, changed(state, part)), atol=1e-4)
    assert not torch.allclose(plain, emitted(stream, replace(state, history=None)), atol=1e-4)


@pytest.mark.parametrize(
    ("fusion", "histories", "captures"),
    [
        (None, (None, "latent", "face", None), 2),  # with three frames more, and without
        (Fusion(2, 2.5, 1.5), ("latent", "face"), 3),  # besides without the reference
    ],
    ids=["history", "fusion"],
)
def test_the_fast_path_has_captures_of_its_own_that_are_never_stale(model, fusion, histories, captures):
    config = replace(SMALL, fusion=fusion)
    prepared = with_speed(model, COMPILED, None, tools())
    (plain, state), (fast, _) = (real_stream(one, config) for one in (model, prepared))
    for history in histories:
        now = replace(state, history=None) if history is None else changed(state, history)
        expected = emitted(plain, now)
        for _ in range(2):
            assert torch.allclose(emitted(fast, now), expected, atol=1e-5)
    assert len(prepared.run.prepared) == captures
