"""Fusion of signals at inference: its formula, how many passes it takes, and what each pass does not see."""

import dataclasses
from dataclasses import dataclass, field, replace

import pytest
import torch

from personalive_core.backends.personalive.conditions import StreamConditions
from personalive_core.backends.personalive.sampling import StreamingSampler
from personalive_core.backends.personalive.types import Reference, StreamConfig, StreamHistory
from personalive_core.backends.svdp.types import FusionScales
from personalive_core.errors import InputError
from personalive_core.modules.fusion import PUBLISHED_SCALES, Fusion
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.modules.unet import UNet, UNetConfig
from personalive_core.motion.types import HeadPose, HybridMotion
from personalive_core.training.drops import drop_image, drop_motion
from personalive_core.training.presets import Preset

SIDE = 2
U, S, D, P = 1.0, 10.0, 200.0, 3000.0  # noise that the double finds, by what it sees
CONFIG = StreamConfig(window=2, timesteps=(0, 999), history=3, keyframe_warmup=100)


@dataclass(frozen=True)
class Double:
    """Its noise says what it saw; remembers each pass."""

    asked: list = field(default_factory=list)

    def denoise(self, x, _timesteps, reference, motion, features):
        tokens = [pair is not None for pair in features]
        image = bool(reference.context[0].any())
        moved = [bool(part.any()) for part in (motion.face, motion.pose)]
        assert len(set(tokens)) == 1
        assert tokens[0] == image
        assert moved[0] == moved[1]
        past = x.shape[1] - 4
        self.asked.append((image, moved[0], past))
        level = P if past else D if moved[0] else S if image else U
        return torch.full_like(x, level)

    def encode_features(self, *_):
        raise AssertionError("no keyframe joins here")

    def project_image(self, clip):
        assert not clip.any()
        return (clip,)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


NOTHING, SOURCE, DRIVING, ALL = (False, False, 0), (True, False, 0), (True, True, 0), (True, True, 3)


@pytest.fixture
def reference():
    pose = HeadPose(torch.zeros(1, 3), torch.zeros(1, 3), torch.ones(1, 1))
    motion = HybridMotion(torch.zeros(1, 32, 16), torch.zeros(1, 21, 3), pose, torch.zeros(1, 4), torch.ones(1) > 0)
    token = torch.ones(1, 1, 8)
    return Reference(
        torch.ones(1, 4, SIDE, SIDE), torch.ones(1, 1, 8), (token,), ((token, token),), motion, torch.zeros(21, 3)
    )


def moving(frames):
    return MotionFeatures(torch.ones(1, frames, 32, 16), torch.ones(1, frames, 1, SIDE, SIDE))


def noise_of(reference, scales, history=3, model=None):
    """The noise that one step takes for the frames in flight."""
    found = []

    class Watched(StreamingSampler):
        def _predict(self, *given):
            found.append(super()._predict(*given))
            return found[-1]

    stream = Watched(model, reference, seeded_noise(0), replace(CONFIG, fusion=scales))
    state = stream.start(moving(2))
    if history:
        past = StreamHistory(torch.ones(1, history, 4, SIDE, SIDE), moving(history))
        state = replace(state, history=past)
    stream.step(state, moving(2))
    (noise,) = found
    assert noise.shape == (1, 4, 4, SIDE, SIDE)
    return noise


@pytest.mark.parametrize("scales", [(2.0, 2.5, 1.0), (2.0, 2.5, 3.0), (1.5, 0.5, 0.25), (0.0, 3.0, 2.0)])
def test_the_formula_by_hand(reference, scales):
    a, b, c = scales
    found = noise_of(reference, Fusion(*scales), model=Double())
    assert found.unique().item() == pytest.approx(U + a * (S - U) + b * (D - S) + c * (P - D), rel=1e-6)
    found = noise_of(reference, Fusion(*scales), history=0, model=Double())
    assert found.unique().item() == pytest.approx(U + a * (S - U) + b * (D - S), rel=1e-6)  # p is d


@pytest.mark.parametrize(
    ("scales", "with_history", "without"),
    [
        (None, [ALL], [DRIVING]),
        (Fusion(), [ALL], [DRIVING]),
        (Fusion(2, 2.5, 1), [NOTHING, SOURCE, DRIVING, ALL], [NOTHING, SOURCE, DRIVING]),
        (Fusion(1, 1, 2), [DRIVING, ALL], [DRIVING]),
        (Fusion(1, 2, 2), [SOURCE, ALL], [SOURCE, DRIVING]),
        (Fusion(2, 2, 2), [NOTHING, ALL], [NOTHING, DRIVING]),
        (Fusion(2, 2, 0), [NOTHING, DRIVING], [NOTHING, DRIVING]),
    ],
)
def test_only_the_passes_that_count_are_run(reference, scales, with_history, without):
    for history, expected in ((3, with_history), (0, without)):
        model = Double()
        noise_of(reference, scales, history, model)
        assert model.asked == expected


@dataclass(frozen=True)
class Real:
    """A real denoising UNet; counts its passes."""

    unet: UNet
    calls: list = field(default_factory=list)

    def denoise(self, x, timesteps, reference, motion, features):
        self.calls.append(x.shape[1])
        return self.unet(x, timesteps, reference.context, motion, features)

    def project_image(self, clip):
        return self.unet.project_image(clip)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)))


@pytest.fixture(scope="module")
def unet():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return UNet(UNetConfig((16, 16), layers=1, groups=4, heads=2, image_dim=8)).eval()


@torch.inference_mode()
def real_step(unet, scales):
    """Clean latents of two frames after a step with history, and the passes that it took."""
    features = tuple((drawn(1, n, 16, seed=1), drawn(1, n, 16, seed=2)) for n in (16, 4, 16, 16))
    model, clip = Real(unet), drawn(1, 1, 8)
    motion = lambda frames: MotionFeatures(drawn(1, frames, 32, 16), drawn(1, frames, 16, 4, 4))  # noqa: E731
    own = HybridMotion(torch.zeros(1, 32, 16), None, None, None, None)
    reference = Reference(drawn(1, 4, 4, 4), clip, unet.project_image(clip), features, own, None)
    stream = StreamingSampler(model, reference, seeded_noise(0), replace(CONFIG, fusion=scales))
    state = replace(stream.start(motion(2)), history=StreamHistory(drawn(1, 3, 4, 4, 4), motion(3)))
    return stream.step(state, motion(2))[1], model.calls


def test_scales_of_one_are_the_single_pass_to_the_bit(unet):
    single, calls = real_step(unet, None)
    ones, more = real_step(unet, Fusion())
    assert calls == more == [7]
    assert torch.equal(single, ones)


def test_a_real_network_runs_without_tokens_and_each_scale_counts(unet):
    results = [real_step(unet, Fusion(*scales)) for scales in ((2, 2.5, 1.5), (1, 2.5, 1.5), (2, 2, 1.5), (2, 2.5, 1))]
    assert results[0][1] == [4, 4, 4, 7]
    assert all(not torch.allclose(one, results[0][0], atol=1e-4) for one, _ in results[1:])


def test_conditions_are_left_out_as_training_drops_them(reference):
    row = Preset(1, (), dropped_image=1.0, dropped_motion=1.0, dropped_pose=1.0)
    past = StreamHistory(torch.ones(1, 3, 4, SIDE, SIDE), moving(3))
    seen = StreamConditions(reference, reference.features, moving(4), past)
    nothing = seen.without_all(Double())
    dropped = drop_motion(row, seen.motion, 0)
    for one in (seen.without_motion(), nothing):
        assert torch.equal(one.motion.face, dropped.face)
        assert torch.equal(one.motion.pose, dropped.pose)
        assert one.history is None
    assert torch.equal(nothing.reference.clip, drop_image(row, reference.clip, 0))
    assert nothing.features == (None,)
    assert seen.without_motion().reference is reference
    assert seen.without_history().history is None
    assert seen.without_history().motion is seen.motion


def test_the_experiment_of_the_canvas_has_the_same_scales():
    assert issubclass(FusionScales, Fusion)
    assert dataclasses.astuple(FusionScales()) == PUBLISHED_SCALES == (2.0, 2.5, 1.0)
    assert dataclasses.astuple(Fusion()) == (1.0, 1.0, 1.0)
    with pytest.raises(InputError, match=r"must be finite numbers, got \(1.0, nan, 1.0\): use 1"):
        Fusion(driving=float("nan"))
