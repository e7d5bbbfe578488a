"""Nothing in the loop waits for the device: decisions from the CPU's copies, pictures read one window late."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from personalive_core.backends.personalive import motion as motion_module
from personalive_core.backends.personalive import pictures as pictures_module
from personalive_core.backends.personalive import stream as stream_module
from personalive_core.backends.personalive.motion import crop_faces, extract_later, gather_faces
from personalive_core.backends.personalive.networks import build
from personalive_core.backends.personalive.pictures import Lane
from personalive_core.backends.personalive.sampling import StreamingSampler, at_hand, first_bank, passes, remember
from personalive_core.backends.personalive.stream import stream
from personalive_core.backends.personalive.types import Reference, StreamConfig, StreamState
from personalive_core.bench.measure import on_meta
from personalive_core.bench.networks import each
from personalive_core.bench.standin import standin_sizes
from personalive_core.device import Download
from personalive_core.errors import NumericalError
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import Schedule, seeded_noise
from personalive_core.motion.types import HeadPose, HybridMotion

META = torch.device("meta")  # stands for a device whose values nobody knows yet: to ask for one raises
SIZE = 64


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def moved(frames, seed=0, stride=1.0):
    """Motion whose embedding wanders off."""
    draw = torch.Generator().manual_seed(seed)
    pose = HeadPose(*(torch.randn(frames, n, generator=draw) for n in (3, 3, 1)))
    embedding = torch.randn(frames, 32, 16, generator=draw).cumsum(0) * stride
    return HybridMotion(embedding, torch.zeros(frames, 21, 3), pose, torch.zeros(frames, 4), torch.ones(frames) > 0)


# --- face crops without asking for the boxes


@pytest.mark.parametrize("size", [192, 512])
def test_gathered_faces_are_the_cropped_ones(size):
    draw = torch.Generator().manual_seed(3)
    pictures = torch.rand(24, 3, size, size, generator=draw) * 2 - 1
    corner = torch.randint(0, size - 40, (24, 2), generator=draw)
    boxes = torch.cat([corner, corner + torch.randint(1, 40 + size // 3, (24, 2), generator=draw)], 1).clamp(max=size)
    boxes[:6] = torch.tensor(  # the whole, a corner, enlarged, one side of the smallest face, none, none
        [
            [0, 0, size, size],
            [size - 30, 0, size, 31],
            [9, 9, 30, 60],
            [0, 0, size // 32, size - 1],
            [7, 7, 7, 7],
            [0, 0, 1, size],
        ]
    )
    torch.testing.assert_close(gather_faces(pictures, boxes), crop_faces(pictures, boxes), rtol=0, atol=1e-6)


def test_gathering_asks_the_device_for_nothing():
    assert gather_faces(torch.zeros(2, 3, 64, 64, device=META), torch.zeros(2, 4, device=META).long()).is_meta


# --- embeddings on the CPU beside those of the device


def features(faces, host=None):
    return MotionFeatures(faces, torch.zeros(1, faces.shape[1], 1, 2, 2), host)


def test_the_copies_go_with_their_frames():
    faces = torch.arange(12.0).view(1, 6, 2, 1)
    left, right = features(faces[:, :4], faces[:, :4].clone()), features(faces[:, 4:], faces[:, 4:].clone())
    joined = left.then(right).drop(2).padded(7)
    assert torch.equal(joined.host, joined.face)
    assert joined.known is joined.host
    assert joined.host[0, :, 0, 0].tolist() == [4, 6, 8, 10, 10, 10, 10]
    mixed = left.then(features(faces[:, 4:]))
    assert mixed.host is None
    assert torch.equal(mixed.known, faces)
    assert features(faces).drop(1).padded(9).host is None


@pytest.fixture(scope="module")
def model():
    """Small networks on that device."""
    sizes = standin_sizes((32, 32))
    unet = replace(sizes.unet, layers=1, preconditioned=True)
    with torch.device("meta"):
        built = build(replace(sizes, unet=unet))
    return each(built, lambda _, network: on_meta(network))  # what networks compute themselves, too


def test_a_device_of_its_own_gets_the_embedding_and_the_cpu_keeps_it(model):
    motion = moved(3)
    found = model.embed_motion(motion, SIZE)
    assert found.face.is_meta
    assert torch.equal(found.host, motion.embedding[None].to(model.dtype))


def test_without_one_there_is_no_second_copy(standin):
    with torch.inference_mode():
        assert standin.embed_motion(moved(2), SIZE).host is None


class Arithmetic:
    """Networks that give each keyframe its own token, so that pictures show which joined and when."""

    dtype = torch.float32

    def denoise(self, x, timesteps, _reference, motion, features):
        told = motion.face.mean((2, 3))[..., None, None, None] + features[0][0].mean()
        return 0.3 * x + 0.001 * timesteps[None, :, None, None, None] + 0.1 * told

    def encode_features(self, latent, _reference):
        return ((latent.flatten(1)[:, None], -latent.flatten(1)[:, None]),)


def plain_reference():
    latent, token = torch.linspace(-1, 1, 16).view(1, 4, 2, 2), torch.zeros(1, 1, 16)
    return Reference(latent, torch.zeros(1, 1, 768), (), ((token, token),), moved(1, 50), torch.zeros(21, 3))


def published(state, face, done, model, reference, config):
    """The bank after a step, as it was decided before: from the device's own values, when the window is finished."""
    bank = state.keyframes
    if state.chunk < config.keyframe_warmup or len(bank) >= config.max_keyframes:
        return bank
    distance = torch.cdist(face.flatten(2).float(), bank.motion.flatten(2).float()).amin((1, 2))
    if not bool((distance > config.keyframe_distance).all()):
        return bank
    return remember(bank, face, model.encode_features(done[:, 0], reference), state.chunk)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("known", [False, True])
def test_the_same_windows_become_keyframes(seed, known):
    """And every step gives the same latents as with decisions of the device's values."""
    config = StreamConfig(keyframe_distance=20.0, keyframe_warmup=3, max_keyframes=5)
    reference, model = plain_reference(), Arithmetic()
    sampler = StreamingSampler(model, reference, seeded_noise(seed), config)
    faces = moved(12 + 4 * 16, seed, 0.35).embedding[None].half()
    host = faces.clone() if known else None

    def part(frames):
        return features(faces[:, frames].float(), None if host is None else host[:, frames])

    state = other = sampler.start(part(slice(0, 12)))
    for chunk in range(16):
        window = part(slice(12 + 4 * chunk, 16 + 4 * chunk))
        after, done = sampler.step(state, window)
        plain, expected = sampler.step(other, replace(window, host=None))
        bank = published(other, faces[:, 4 * chunk : 4 * chunk + 1].float(), expected, model, reference, config)
        other = replace(plain, keyframes=bank)
        state = after
        assert torch.equal(done, expected)
        assert state.keyframes.chunks == bank.chunks
        assert torch.equal(state.keyframes.motion, bank.motion)
        for pair, same in zip(state.keyframes.features, bank.features, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(pair, same, strict=True))
    assert len(state.keyframes) > 2


def test_the_schedule_is_made_once():
    config = StreamConfig.of(8)
    first = passes(config, torch.device("cpu"))
    assert passes(StreamConfig.of(8), torch.device("cpu"))[1].alphas is first[1].alphas
    levels = (torch.arange(4).repeat_interleave(4) + 1) * 2 - 1
    like = torch.zeros(())
    for passed, one in enumerate(first):
        assert one.timesteps.tolist() == [config.timesteps[level] for level in levels - passed]
        assert torch.equal(one.alphas, Schedule(config.timesteps).alphas(levels - passed, like))
        assert torch.equal(one.below, Schedule(config.timesteps).alphas(levels - passed - 1, like))
        assert not one.alphas.is_inference()  # training takes the same


def test_a_state_from_a_file_is_brought_to_hand():
    bank = replace(first_bank(plain_reference()), motion=torch.ones(1, 1, 32, 16))
    state = at_hand(StreamState(torch.zeros(1, 12, 4, 2, 2), features(torch.ones(1, 12, 32, 16)), bank))
    assert state.motion.host is None  # it is on the CPU
    assert torch.equal(state.motion.known, torch.ones(1, 12, 32, 16))
    device = MotionFeatures(torch.ones(1, 12, 32, 16, device=META), torch.zeros(1), torch.ones(1, 12, 32, 16))
    assert at_hand(replace(state, motion=device)).motion.host.sum() == 12 * 32 * 16


# --- the whole loop on a device that answers nothing


class Copies(TorchDispatchMode):
    """Counts what goes to the device other than by `upload`: on a GPU such a copy waits for all queued work."""

    def __init__(self):
        super().__init__()
        self.found, self.allowed = [], False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        of_cpu = any(isinstance(arg, torch.Tensor) and arg.device.type == "cpu" and arg.ndim for arg in args)
        if of_cpu and isinstance(result, torch.Tensor) and result.is_meta and not self.allowed:
            self.found.append(str(func))
        return result


@pytest.fixture
def far(monkeypatch):
    """What is downloaded is made up. Gives `Copies`."""
    copies = Copies()

    def made_up(*tensors):
        values = [torch.ones(t.shape, dtype=t.dtype) if t.ndim > 1 else torch.tensor([True, False]) for t in tensors]
        return Download(tuple(values))

    def upload(tensor, device):
        copies.allowed = True
        try:
            return tensor.to(device)
        finally:
            copies.allowed = False

    for module in (motion_module, pictures_module):
        monkeypatch.setattr(module, "copy_down", made_up)
    for name in ("model", "sampling"):
        monkeypatch.setattr(f"personalive_core.backends.personalive.{name}.upload", upload)
    return copies


def far_reference(model):
    side, unet = SIZE // 8, model.denoising_unet
    latent, clip = torch.zeros(1, 4, side, side, device=META), torch.zeros(1, 1, 768, device=META)
    tokens = model.project_tokens(latent, clip)
    return Reference(latent, clip, unet.project_image(clip), tokens, moved(1, 50), torch.zeros(21, 3))


def test_the_loop_reads_nothing_from_the_device(far, model):
    """With keyframes that join; a read in the loop would raise, a copy by another way is counted."""
    config = StreamConfig(keyframe_distance=1.0, keyframe_warmup=3, max_keyframes=3)
    with torch.inference_mode():
        reference = far_reference(model)
    sampler = StreamingSampler(model, reference, seeded_noise(0), config)
    steps = stream(model, sampler, [moved(12, 1), *(moved(4, seed) for seed in range(2, 6))])
    first = next(steps)  # what is made once has been made
    with far:
        found = [first, *steps]
    assert far.found == []
    assert [step.keyframe is not None for step in found] == [False, False, False, True, True, False, False]
    assert all(step.novelty > 1 for step in found[1:4])
    assert found[-1].state.latents.is_meta


def test_motion_is_extracted_without_a_read(far, model):
    pictures = torch.zeros(4, 3, SIZE, SIZE, device=META)
    extract_later(model, pictures)
    with far:
        read = extract_later(model, pictures)
    assert far.found == []
    assert len(read()) == 4


# --- pictures one window late


@dataclass
class Logged(Arithmetic):
    """Decodes to pictures that say which call they are of; notes when."""

    log: list = field(default_factory=list)
    broken: int = -1

    def embed_motion(self, motion, _size):
        return features(motion.embedding[None])

    def denoise(self, x, *rest):
        self.log.append("step")
        return super().denoise(x, *rest)

    def decode(self, latents):
        number = sum(word.startswith("decode") for word in self.log)
        self.log.append(f"decode {number}")
        value = float("nan") if number == self.broken else (10 + number) / 255
        return torch.full((1, latents.shape[1], 3, 16, 16), value)


@dataclass(frozen=True)
class Noted(Download):
    log: list = field(default_factory=list)

    def read(self):
        self.log.append(f"read {round(float(self.tensors[0].float().mean())) - 10}")
        return super().read()


@pytest.fixture
def late(monkeypatch):
    """Runs a stream whose pictures are read one window late; gives what it yields and the log."""

    def run(pieces, model, behind=1):
        monkeypatch.setattr(stream_module, "lane_on", lambda *_: Lane(behind))
        monkeypatch.setattr(pictures_module, "copy_down", lambda *tensors: Noted(tensors, None, model.log))
        sampler = StreamingSampler(model, plain_reference(), seeded_noise(1), StreamConfig(keyframe_distance=5.0))
        return stream(model, sampler, pieces)

    return run


def test_pictures_are_read_when_the_next_window_was_queued(late):
    model = Logged()
    found = list(late([moved(12, 1), moved(10, 2)], model))
    begun = [step for step in found if len(step.pictures)]
    assert [(step.first, len(step.pictures), int(step.pictures[0, 0, 0, 0])) for step in begun] == [
        (0, 4, 10),
        (4, 4, 11),
        (8, 2, 12),
    ]
    assert model.log[3:] == ["step", "decode 0", "step", "decode 1", "read 0", "step", "decode 2", "read 1", "read 2"]


def test_late_pictures_are_the_same(late):
    def run(behind):
        steps = late([moved(12, 1, 3.0), *(moved(4, seed, 3.0) for seed in range(2, 14))], Logged(), behind)
        return [(s.first, s.pictures.tobytes(), s.novelty, s.keyframe is not None, s.state.chunk) for s in steps]

    assert run(0) == run(1)
    assert any(step[3] for step in run(1))


def test_a_breakdown_is_told_in_its_turn(late):
    """After the pictures before it, and none of its own is given."""
    model, found = Logged(broken=1), []
    with pytest.raises(NumericalError, match="gave NaN in float32"):
        found.extend(late([moved(12, 1), moved(16, 2)], model))
    assert [step.first for step in found if len(step.pictures)] == [0]


def test_finished_pictures_come_before_a_cancel(late):
    class Cancel(BaseException):
        pass

    def cancelled():
        yield moved(12, 1)
        yield moved(20, 2)
        raise Cancel

    found = []
    with pytest.raises(Cancel):
        found.extend(late(cancelled(), Logged()))
    assert [step.first for step in found if len(step.pictures)] == [0, 4]  # five windows went in


def test_a_closed_stream_reads_no_more(late):
    model = Logged()
    steps = late([moved(12, 1), moved(40, 2)], model)
    while not len(next(steps).pictures):
        pass
    steps.close()
    assert model.log[-1] == "read 0"


def test_pausing_at_a_late_step_goes_on_as_if_it_were_on_time(late):
    """The state handed out with pictures is that after their own step."""
    told = [moved(12, 1), moved(24, 2)]
    whole = list(late(told, Logged()))
    paused = whole[4].state
    sampler = StreamingSampler(Logged(), plain_reference(), seeded_noise(1), StreamConfig(keyframe_distance=5.0))
    resumed = list(stream(Logged(), sampler, [told[1][paused.frames :]], resume=paused))
    for one, other in zip(resumed, whole[5:], strict=True):
        assert torch.equal(one.state.latents, other.state.latents)


def test_bilinear_is_what_the_gathered_pixels_repeat():
    """Enlarged and reduced, along both axes at once."""
    picture = torch.rand(1, 3, 300, 300, generator=torch.Generator().manual_seed(8))
    box = torch.tensor([[20, 5, 290, 60]])
    expected = functional.interpolate(picture[..., 5:60, 20:290], size=224, mode="bilinear")
    torch.testing.assert_close(gather_faces(picture, box), expected, rtol=0, atol=1e-6)
    assert not np.allclose(gather_faces(picture, box + 1), expected, atol=1e-2)
