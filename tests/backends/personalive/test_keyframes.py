"""Keyframes through real networks: whose tokens stand where in the bank, in the attention, and in a saved stream."""

import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.backends.personalive.model import PersonaLive
from personalive_core.backends.personalive.sampling import StreamingSampler
from personalive_core.backends.personalive.state_file import STREAM_SCHEMA, load_state, save_state
from personalive_core.backends.personalive.types import Reference, StreamConfig
from personalive_core.media.files import load_tensors
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.modules.unet import UNet, UNetConfig
from personalive_core.motion.types import HeadPose, HybridMotion

SIDE, WIDTHS = 4, (32, 32)
AT_ONCE = StreamConfig(window=2, timesteps=(0, 999), keyframe_warmup=0)
FIRSTS = (60.0, 0.0, 20.0, 40.0)  # embeddings of the windows' first frames: the second is the reference's own
JOINED = (60.0, 20.0, 40.0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture
def attended():
    """The keys of every attention that ran, as [N, heads, M, C]."""
    return []


@pytest.fixture
def model(synth, attended):
    """Both UNets, small, with the stand-in weights of tests/parity; what else a model has is not asked for."""

    def attention(q, k, v):
        attended.append(k)
        return functional.scaled_dot_product_attention(q, k, v)

    ops = SimpleNamespace(**{**vars(nn), "scaled_dot_product_attention": attention})
    config = UNetConfig(WIDTHS, layers=1, groups=8)
    unets = {
        "reference_unet": synth.load_synth(UNet(UNetConfig(WIDTHS, False, 1, groups=8)), "tiny.reference_unet."),
        "denoising_unet": synth.load_synth(UNet(config, ops), "tiny.denoising_unet."),
    }
    rest = ("pose_guider", "motion_encoder", "motion_extractor", "vae", "image_encoder")
    return PersonaLive(**unets, **dict.fromkeys(rest))


def embedded(values):
    """Motion of one frame for each of `values`, which the first place of the embedding holds."""
    face = torch.zeros(1, len(values), 32, 16)
    face[0, :, 0, 0] = torch.tensor(values)
    return MotionFeatures(face, torch.zeros(1, len(values), WIDTHS[0], SIDE, SIDE))


@pytest.fixture
def reference(model, synth):
    pose = HeadPose(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 1))
    own = HybridMotion(torch.zeros(1, 32, 16), torch.zeros(1, 21, 3), pose, torch.zeros(1, 4), torch.ones(1) > 0)
    latent, clip = synth.synth_input("ref_latents", (1, 4, SIDE, SIDE)), synth.synth_input("clip", (1, 1, 768))
    with torch.inference_mode():
        tokens = model.project_tokens(latent, clip)
        return Reference(latent, clip, model.project_image(clip), tokens, own, torch.zeros(21, 3))


@pytest.fixture
def run(model, reference):
    """The states, the start's first, and the latents of each step; FIRSTS are of the windows' first frames."""
    sampler = StreamingSampler(model, reference, seeded_noise(1), AT_ONCE)
    values = [value for value in FIRSTS for value in (value, 500.0)]
    states, done = [], []
    with torch.inference_mode():
        states.append(sampler.start(embedded(values[:2])))
        for first in range(2, len(values) + 2, 2):
            state, latents = sampler.step(states[-1], embedded(values[first : first + 2]))
            states.append(state)
            done.append(latents)
    return states, done


def test_each_keyframe_stands_behind_those_that_joined_before_it(run, model, reference):
    states, done = run
    bank = states[-1].keyframes
    assert bank.chunks == (0, 2, 3)
    assert bank.motion[0, :, 0, 0].tolist() == [0.0, *JOINED]
    with torch.inference_mode():
        own = [reference.features, *(model.encode_features(done[chunk][:, 0], reference) for chunk in bank.chunks)]
    for layer, pair in enumerate(bank.features):
        for side, tokens in enumerate(pair):
            for place, part in enumerate(tokens.chunk(4, 1)):
                torch.testing.assert_close(part, own[place][layer][side])
                assert not any(torch.allclose(part, own[other][layer][side]) for other in range(4) if other != place)


def test_every_frame_attends_to_its_own_tokens_then_the_references_then_the_keyframes(run, model, reference, attended):
    """Softmax does not see the order, so no output tells it; a host's own attention does."""
    bank, latents = run[0][-1].keyframes, run[0][-1].latents
    attended.clear()
    with torch.inference_mode():
        model.denoise(latents, torch.zeros(2), reference, embedded([1.0, 1.0]), bank.features)
    shared = [keys for keys in attended if keys.shape[2] in {5 * SIDE**2, 5 * (SIDE // 2) ** 2}]
    assert len(shared) == len(bank.features)
    for keys, (expected, _) in zip(shared, bank.features, strict=True):
        per_frame = keys.transpose(1, 2).flatten(2)
        for frame in per_frame[:, expected.shape[1] // 4 :]:
            torch.testing.assert_close(frame, expected[0])


def test_a_saved_stream_keeps_the_order(run, tmp_path):
    bank = run[0][-1].keyframes
    save_state(tmp_path / "stream.safetensors", run[0][-1])
    stored, metadata = load_tensors(tmp_path / "stream.safetensors", STREAM_SCHEMA)
    assert stored["bank.motion"][0, :, 0, 0].tolist() == [0.0, *JOINED]
    assert torch.equal(stored["bank.0.k"], bank.features[0][0])
    assert json.loads(metadata["facts"])["chunks"] == [0, 2, 3]
    again = load_state(tmp_path / "stream.safetensors").keyframes
    assert again.chunks == bank.chunks
    assert torch.equal(again.motion, bank.motion)
    for pair, other in zip(again.features, bank.features, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(pair, other, strict=True))


def test_the_first_three_stay_and_a_later_one_is_not_remembered(model, reference):
    """The bank never drops a keyframe: which ones it holds depends on the order in which they came."""

    def joined(values):
        sampler = StreamingSampler(model, reference, seeded_noise(1), AT_ONCE)
        with torch.inference_mode():
            state = sampler.start(embedded([values[0], 0.0]))
            for value in values[1:]:
                state, _ = sampler.step(state, embedded([value, 0.0]))
            state, _ = sampler.step(state, embedded([]))
        return state.keyframes.motion[0, :, 0, 0].tolist()

    assert joined([20.0, 40.0, 60.0, 80.0]) == [0, 20, 40, 60]
    assert joined([80.0, 60.0, 40.0, 20.0]) == [0, 80, 60, 40]
