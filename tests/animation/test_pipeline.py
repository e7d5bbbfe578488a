"""The stages composed, on the stand-in networks: frames out are frames in, pauses, faces lost, breakdowns, memory."""

import gc
import tracemalloc
from copy import deepcopy
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.animation.pipeline import (
    AnimateOptions,
    MotionOptions,
    animate,
    animate_motion,
    driving_motion,
    film_motion,
)
from personalive_core.backends.personalive.motion import extract_motion, lead_in, retarget
from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.backends.personalive.sampling import StreamingSampler, novelty
from personalive_core.backends.personalive.state_file import load_state, save_state
from personalive_core.backends.personalive.stream import stream, to_pictures, to_reference
from personalive_core.backends.personalive.types import LATENT_SCALE, Reference, StreamConfig
from personalive_core.errors import FaceError, InputError, NumericalError
from personalive_core.faces.crop import Box, Face
from personalive_core.media.video import Frame
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import seeded_noise
from personalive_core.motion.smoothing import OneEuroOptions, one_euro, smooth
from personalive_core.motion.types import HeadPose, HybridMotion, concat_motion

SIZE = 64
OPTIONS = AnimateOptions(motion=MotionOptions(size=SIZE))


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def picture(i, height=SIZE, width=SIZE):
    """Noise, different for each `i`: what the stand-in sees does not matter, that it differs does."""
    return np.random.default_rng(i).integers(0, 256, (height, width, 3), np.uint8)


def driving(count, **shape):
    """Frames at times that no rate explains."""
    return [Frame(picture(i, **shape), Fraction(i * i, 7)) for i in range(count)]


@pytest.fixture(scope="module")
def reference(standin):
    return encode_reference(standin, picture(1000), SIZE)


def same(one, other):
    return len(one) == len(other) and all(np.array_equal(a.picture, b.picture) for a, b in zip(one, other, strict=True))


# --- what the published loop feeds its networks


def error(ours, theirs):
    """The largest difference in standard deviations of the case."""
    assert ours.shape == theirs.shape
    return np.abs(np.asarray(ours, np.float64) - theirs).max() / theirs.std()


class NoNetworks:
    """A denoiser that predicts no noise, and gives each keyframe the tokens of the reference."""

    def denoise(self, x, *_):
        return torch.zeros_like(x)

    def encode_features(self, _latent, reference):
        return reference.features


@pytest.mark.slow
@pytest.mark.parametrize("tag", ["A", "B"])
def test_inputs_of_the_published_streams(tag, twins, cases, parity):
    """Everything before the denoising network; what comes behind it is compared in test_streams.py."""
    stored = np.load(parity / f"stream_{tag.lower()}.npz")
    reference = encode_reference(twins, cases.reference_image(tag), 512)
    off = reference.latent.numpy() - stored["ref_image_latents"]
    # this random VAE makes 3e-6 to 9e-4 of one and the same rounding, by how many threads its convolutions run on
    assert np.sqrt((off**2).mean()) < 3e-4 * stored["ref_image_latents"].std()
    assert error(reference.clip, stored["clip"]) < 2e-5
    assert np.array_equal(reference.motion.box, stored["first.ref_box"])
    frames = cases.driving_frames(tag, 2)[:5]  # the first chunk, and the next one's first frame
    motion = extract_motion(twins, frames)
    assert np.array_equal(motion.box[:4], stored["first.boxes"])
    motion = retarget(motion, reference, motion.pose[:1])
    leading = lead_in(reference, motion[:1])
    assert error(torch.cat([leading.keypoints, motion[:4].keypoints]), stored["first.keypoints"]) < 2e-5
    config = {"A": StreamConfig(), "B": StreamConfig(keyframe_warmup=0)}[tag]
    sampler = StreamingSampler(NoNetworks(), reference, seeded_noise(0), config)

    def features(part):
        return MotionFeatures(part.embedding[None], torch.zeros(1, len(part), 1, 1, 1))

    state = sampler.start(features(leading))
    # up to the fifth chunk: then the published motion bank, unlike its keyframes and ours, grows beyond four
    for chunk, keyframes in enumerate(stored["num_keyframes"][:5]):
        if tag == "B":  # of case A, which begins with the warm-up, no distance is stored
            distance = novelty(state.keyframes, state.motion.face[:, :1]).item()
            assert distance == pytest.approx(stored["dist"][chunk], rel=1e-4, abs=1e-3)
        state, _ = sampler.step(state, features(motion[4 * chunk : 4 * chunk + 4]))
        assert len(state.keyframes) - 1 == keyframes


# --- as many frames out as in


@pytest.mark.parametrize(("count", "shape"), [(1, {}), (4, {}), (5, {"height": 50, "width": 97}), (9, {})])
def test_frames_out_are_frames_in(count, shape, standin, reference):
    frames = driving(count, **shape)
    found = list(animate(standin, reference, iter(frames), OPTIONS))
    assert [frame.index for frame in found] == list(range(count))
    assert [frame.time for frame in found] == [frame.time for frame in frames]
    assert {(frame.picture.shape, frame.picture.dtype) for frame in found} == {((SIZE, SIZE, 3), np.dtype(np.uint8))}
    assert all(frame.valid for frame in found)
    assert not any(frame.keyframe for frame in found)  # the first may join in the tenth chunk
    assert len({frame.picture.tobytes() for frame in found}) == count


def test_other_window_and_step_counts(standin, reference):
    options = replace(OPTIONS, config=StreamConfig.of(steps=4, windows=2, window=3))
    assert [frame.index for frame in animate(standin, reference, driving(5), options)] == list(range(5))


def test_keyframes_are_marked(standin, reference):
    """With a distance of 0 every chunk's first frame joins until the bank is full."""
    options = replace(OPTIONS, config=StreamConfig(keyframe_warmup=4, keyframe_distance=0.0))
    found = [frame.keyframe for frame in animate(standin, reference, driving(17), options)]
    assert [i for i, keyframe in enumerate(found) if keyframe] == [4, 8, 12]


def test_no_frames_at_all(standin, reference):
    sampler = StreamingSampler(standin, reference, seeded_noise(0))
    with pytest.raises(InputError, match="choose a driving with at least one frame"):
        list(stream(standin, sampler, iter(())))
    with pytest.raises(InputError, match="choose a driving with at least one frame"):
        list(animate(standin, reference, [], OPTIONS))


# --- seeds, pauses, interruption


def test_seeds_repeat_and_differ(standin, reference):
    def result(seed):
        return list(animate(standin, reference, driving(2), replace(OPTIONS, seed=seed)))

    assert same(result(3), result(3))
    assert not same(result(3), result(4))


def test_stream_resumed_from_a_file_gives_the_same_bits(standin, reference, tmp_path):
    config = StreamConfig(keyframe_warmup=3, keyframe_distance=0.0)
    sampler = StreamingSampler(standin, reference, seeded_noise(1), config)
    motions = list(driving_motion(standin, [picture(i) for i in range(10)], OPTIONS.motion))
    told = list(to_reference(motions, reference, config.lookahead))
    whole = list(stream(standin, sampler, told))
    save_state(tmp_path / "paused.safetensors", whole[1].state)
    assert whole[1].state.frames == 8
    again = StreamingSampler(standin, reference, seeded_noise(1), config)
    resumed = list(
        stream(standin, again, [concat_motion(told[1:])[8:]], resume=load_state(tmp_path / "paused.safetensors"))
    )
    assert len(resumed) == len(whole) - 2
    for one, other in zip(resumed, whole[2:], strict=True):
        assert one.first == other.first
        assert np.array_equal(one.pictures, other.pictures)
        assert torch.equal(one.state.latents, other.state.latents)
    assert resumed[-1].state.keyframes.chunks == whole[-1].state.keyframes.chunks == (3, 4, 5)


def test_a_saved_stream_is_read_onto_the_device(standin, reference, tmp_path):
    """Every tensor of it; `meta` stands for a GPU."""
    sampler = StreamingSampler(standin, reference, seeded_noise(1), StreamConfig())
    save_state(
        tmp_path / "paused.safetensors",
        next(stream(standin, sampler, to_reference([reference.motion], reference, 12))).state,
    )
    state = load_state(tmp_path / "paused.safetensors", torch.device("meta"))
    features = [tensor for pair in state.keyframes.features for tensor in pair]
    tensors = [state.latents, state.motion.face, state.motion.pose, state.keyframes.motion, *features]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_closing_stops_reading(standin, reference):
    read = []

    def source():
        try:
            for frame in driving(100):
                read.append(frame.time)
                yield frame
        finally:
            read.append("closed")

    found = animate(standin, reference, source(), OPTIONS)
    assert next(found).index == 0
    assert len(read) == 16  # no further ahead than the window in flight
    found.close()
    assert read[16:] == ["closed"]
    assert list(found) == []


# --- faces that are not found


def detector(seen):
    """Finds the one face in the frames `seen`, asked frame by frame."""
    frame = iter(range(1000))
    return lambda _: (Face(Box(16, 12, 48, 44), 0.9),) if next(frame) in seen else ()


def lossy(missing="hold", seen=(4, 11, 12)):
    return MotionOptions(size=SIZE, detector=detector(seen), missing=missing)


def test_faces_in_three_of_twenty_frames(standin, reference):
    options = replace(OPTIONS, motion=lossy())
    found = list(animate(standin, reference, driving(20), options))
    assert [frame.index for frame in found] == list(range(20))
    assert [frame.index for frame in found if frame.valid] == [4, 11, 12]


def test_held_motion_is_the_last_faces(standin):
    motion = concat_motion(list(driving_motion(standin, [picture(i) for i in range(7)], lossy(seen=(1, 4)))))
    assert motion.valid.tolist() == [False, True, False, False, True, False, False]
    for frame, source in enumerate([1, 1, 1, 1, 4, 4, 4]):
        assert torch.equal(motion.embedding[frame], motion.embedding[source])
    assert not torch.equal(motion.embedding[1], motion.embedding[4])


def test_policy_error_names_the_frame(standin, reference):
    with pytest.raises(FaceError, match="no face in driving frame 2: "):
        list(animate(standin, reference, driving(6), replace(OPTIONS, motion=lossy("error", seen=(0, 1, 5)))))


def test_no_face_in_any_frame(standin, reference):
    with pytest.raises(FaceError, match="no face in any of the 3 driving frames"):
        list(animate(standin, reference, driving(3), replace(OPTIONS, motion=lossy(seen=()))))


def test_boxes_are_places_in_the_frame(standin):
    square = picture(5)
    wide = np.zeros((SIZE, SIZE + 40, 3), np.uint8)
    wide[:, 20:-20] = square
    (narrow,), (found,) = (list(driving_motion(standin, [image], OPTIONS.motion)) for image in (square, wide))
    torch.testing.assert_close(found.embedding, narrow.embedding)
    torch.testing.assert_close(found.box, narrow.box + torch.tensor([20.0, 0, 20, 0]))
    cut = MotionOptions(size=SIZE, detector=lambda _: (Face(Box(16, 16, 32, 32), 1.0),))
    (found,) = driving_motion(standin, [picture(5)], cut)
    inside = found.box[0].tolist()
    assert inside[2] - inside[0] < 0.5 * (narrow.box[0, 2] - narrow.box[0, 0])  # the crop is 29 pixels wide
    assert inside[0] >= 24 - 1.8 * 8 - 1


# --- smoothing


def plain_motion(frames, valid=None):
    generator = torch.Generator().manual_seed(2)
    pose = HeadPose(*(torch.randn(frames, n, generator=generator) for n in (3, 3, 1)))
    flags = torch.ones(frames, dtype=torch.bool) if valid is None else torch.tensor(valid)
    box = torch.rand(frames, 4, generator=generator)
    return HybridMotion(torch.zeros(frames, 32, 16), torch.zeros(frames, 21, 3), pose, box, flags)


def rows(motion):
    return torch.cat([motion.pose.angles, motion.pose.translation, motion.pose.scale, motion.box], 1)


def test_without_options_motion_passes():
    motion = plain_motion(3)
    assert next(smooth([motion], None)) is motion


def test_pose_and_box_are_smoothed_across_pieces():
    motion, options, state, expected = plain_motion(7), OneEuroOptions(rate=30), None, []
    for row in rows(motion):
        state, value = one_euro(state, row, options)
        expected.append(value)
    found = concat_motion(list(smooth([motion[:3], motion[3:]], options)))
    torch.testing.assert_close(rows(found), torch.stack(expected))
    assert torch.equal(found.embedding, motion.embedding)
    assert rows(found).diff(dim=0).square().sum() < 0.5 * rows(motion).diff(dim=0).square().sum()


def test_frames_are_smoothed_over_their_own_time_steps(standin):
    """Across windows; their times are as uneven as those of a film with pauses."""
    frames, options = driving(6), MotionOptions(size=SIZE, smoothing=OneEuroOptions(1.0, 0.05))
    raw = concat_motion(driving_motion(standin, (frame.image for frame in frames), replace(options, smoothing=None)))
    timed = concat_motion(smooth([raw], options.smoothing, [frame.time for frame in frames]))
    found = concat_motion(film_motion(standin, iter(frames), options))
    torch.testing.assert_close(rows(found), rows(timed))
    assert not torch.allclose(rows(timed), rows(concat_motion(smooth([raw], options.smoothing))))
    unsmoothed = concat_motion(film_motion(standin, iter(frames), replace(options, smoothing=None)))
    assert torch.equal(rows(unsmoothed), rows(raw))


def test_frames_without_a_face_leave_no_trace():
    motion = plain_motion(5, [True, False, True, True, False])
    found = concat_motion(list(smooth([motion], OneEuroOptions())))
    seen = concat_motion([motion[:1], motion[2:4]])
    alone = concat_motion(list(smooth([seen], OneEuroOptions())))
    torch.testing.assert_close(rows(found)[motion.valid], rows(alone))
    assert torch.equal(rows(found)[~motion.valid], rows(motion)[~motion.valid])
    assert torch.equal(found.valid, motion.valid)


# --- when networks break down


@pytest.mark.parametrize(
    ("dtype", "advice"),
    [
        (torch.float16, "in float16: use bf16 precision"),
        (torch.bfloat16, "in bfloat16: use fp32 precision"),
        (torch.float32, "in float32: check the weights"),
    ],
)
@pytest.mark.parametrize(("value", "what"), [(float("nan"), "NaN"), (float("inf"), "NaN"), (0.004, "only black")])
def test_breakdown_names_what_to_try(value, what, dtype, advice):
    pixels = torch.full((2, 3, 8, 8), value)
    with pytest.raises(NumericalError, match=f"the networks gave {what} {advice}"):
        to_pictures(pixels, dtype)


def test_dark_is_not_black():
    pixels = torch.zeros(1, 3, 8, 8)
    pixels[0, 0, 0, 0] = 0.01
    pixels[0, 2, 7, 7] = 1.0
    (dark,) = to_pictures(pixels, torch.float32)
    assert (dark[0, 0].tolist(), dark[7, 7].tolist(), dark.sum()) == ([3, 0, 0], [0, 0, 255], 258)


def test_weights_that_are_nan(standin, reference):
    broken = deepcopy(standin.denoising_unet)
    broken.conv_out.weight.data.fill_(float("nan"))
    with pytest.raises(NumericalError, match="NaN in float32: check the weights with `personalive check`"):
        list(animate(replace(standin, denoising_unet=broken), reference, driving(1), OPTIONS))


# --- the reference and the decoders


@pytest.mark.parametrize(
    ("shape", "size", "message"),
    [
        ((64, 80, 3), 64, r"expected a square RGB portrait \[S, S, 3\], got \(64, 80, 3\)"),
        ((64, 64), 64, "expected a square RGB portrait"),
        ((64, 64, 4), 64, "expected a square RGB portrait"),
        ((64, 64, 3), 100, "must be a multiple of 64 such as 512 or 256, got 100"),
        ((64, 64, 3), 0, "must be a multiple of 64"),
    ],
)
def test_portraits_that_cannot_be_used(shape, size, message, standin):
    with pytest.raises(InputError, match=message):
        encode_reference(standin, np.zeros(shape, np.uint8), size)


def test_portrait_without_a_face(standin):
    """Keypoints that all sit in one place."""
    point = HeadPose(torch.zeros(1, 3), torch.zeros(1, 3), torch.zeros(1, 1))
    blind = replace(standin, motion_extractor=lambda _: (point, torch.zeros(1, 21, 3)))
    with pytest.raises(FaceError, match="no face in the reference portrait"):
        encode_reference(blind, picture(1), SIZE)


def test_only_the_full_decoder_undoes_the_latent_scale(standin):
    seen = []

    def decode(latents):
        seen.append(latents)
        return SimpleNamespace(sample=torch.full((len(latents), 3, 8, 8), 3.0))

    decoder = SimpleNamespace(decode=decode)
    latents = torch.ones(1, 2, 4, 1, 1)
    for model in (replace(standin, tiny_vae=decoder), replace(standin, vae=decoder, tiny_vae=None)):
        pictures = model.decode(latents)
        assert pictures.shape == (1, 2, 3, 8, 8)
        assert pictures.unique().tolist() == [1.0]  # clamped
    assert [x.mean().item() for x in seen] == pytest.approx([1.0, 1 / 0.18215])
    assert LATENT_SCALE == 0.18215


# --- memory


class Stub:
    """Networks that cost nothing, so that a long stream shows what the stages around them keep."""

    dtype = torch.float32

    def embed_motion(self, motion, _size):
        return MotionFeatures(motion.embedding[None], torch.zeros(1, len(motion), 1, 1, 1))

    def denoise(self, x, *_):
        return 0.1 * x

    def encode_features(self, *_):
        return ()

    def decode(self, latents):
        return torch.full((1, latents.shape[1], 3, 8, 8), 0.5)


def stub_reference():
    own = plain_motion(1)
    return Reference(torch.zeros(1, 4, 1, 1), torch.zeros(1, 1, 768), (), (), own, torch.zeros(21, 3))


def tensors_alive():
    return sum(type(value) is torch.Tensor for value in gc.get_objects())


def test_memory_does_not_grow_with_the_stream():
    """2,000 frames: as many tensors alive as after 200, and no other memory kept once the free lists are full."""
    pieces = (plain_motion(4) for _ in range(500))
    alive, memory = {}, {}
    gc.collect()
    tracemalloc.start()
    for frame in animate_motion(Stub(), stub_reference(), pieces, OPTIONS):
        if frame.index in (199, 983, 1983):  # the same place in a window, and the driving not yet at its end
            gc.collect()
            alive[frame.index], memory[frame.index] = tensors_alive(), tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert frame.index == 1999
    assert alive[199] == alive[1983]
    assert memory[1983] < memory[983] + 40_000  # 40 bytes a frame
