"""Networks as training makes them: where fresh ones begin, and what the arguments that only training uses change."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from personalive_core.backends.personalive.loader import load_model
from personalive_core.drawn.landmarker import soft_argmax
from personalive_core.media.tensors import to_signed
from personalive_core.modules.face_encoder import FaceEncoderConfig
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.keypoints import BINS
from personalive_core.modules.schedule import SIGMA_DATA, alphas_cumprod, noise_from_output, predict_x0
from personalive_core.modules.unet import UNet
from personalive_core.training.foundations import fresh_pointers, keypoint_losses, solve_lengths
from personalive_core.training.losses import bin_error, heat_error
from personalive_core.training.networks import SHAPES, chunked, fresh, initialise, save_networks
from personalive_core.training.prepare import Drawing, drawn_clip, prepare_drawn
from personalive_core.training.presets import preset
from personalive_core.training.recipe import assemble, stage_of
from personalive_core.weights.read import read_metadata
from tests.training.toy import toy_source

SIDE = 8  # of a latent


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def denoise(model, x, timesteps, **more):
    """The denoising UNet of `model` (or another of its shapes) on random conditions."""
    batch, frames = x.shape[:2]
    unet, config = model.denoising_unet, model.denoising_unet.config
    image = drawn(batch, 1, config.image_dim, seed=1)
    tokens = model.reference_unet.reference_tokens(drawn(batch, 4, SIDE, SIDE, seed=2), image)
    face = drawn(batch, frames, 32, 16, seed=3)
    pose = model.pose_guider(drawn(batch * frames, 3, 8 * SIDE, 8 * SIDE, seed=4)).unflatten(0, (batch, frames))
    motion = MotionFeatures(face, pose)
    return unet(x, timesteps, unet.project_image(image), motion, unet.project_reference(tokens), **more)


@torch.no_grad()
def lively(model):
    """Temporal modules and an output layer that say something."""
    for key, tensor in model.denoising_unet.state_dict().items():
        if ".temporal_transformer.proj_out.weight" in key and ".temporal_modules." in key:
            tensor.copy_(drawn(*tensor.shape, seed=5) / math.sqrt(tensor.shape[1]))
        if key == "conv_out.weight":
            tensor.copy_(drawn(*tensor.shape, seed=5) / math.sqrt(tensor.shape[1]))
    return model


@pytest.mark.parametrize("size", ["twin", "small"])
@torch.no_grad()
def test_fresh_networks_take_what_they_see_for_noise_as_far_as_its_level_goes(size):
    model, x, times = fresh(SHAPES[size], 3), drawn(2, 4, 4, SIDE, SIDE), torch.tensor([0, 333, 666, 999])
    alpha = alphas_cumprod()[times][:, None, None, None]
    clean = predict_x0(x, denoise(model, x, times), alpha)
    left = (clean / x).abs().mean((0, 2, 3, 4))  # of what is seen, in the clean latents
    assert left[0] == pytest.approx(1, abs=0.01)
    assert left[3] < 0.03
    assert (left.diff() < 0).all()


def test_preconditioned_noise_by_hand():
    """Where sigma^2 = 3/4, s = 1/4: x0 = x / (4 sqrt(4/7)) + sqrt(3)/4 output."""
    x, output, alpha = torch.tensor([2.0]), torch.tensor([-1.0]), torch.tensor([4 / 7])
    assert SIGMA_DATA == 0.5
    x0 = 2 / (4 * math.sqrt(4 / 7)) - math.sqrt(3) / 4
    noise = (2 - math.sqrt(4 / 7) * x0) / math.sqrt(3 / 7)
    assert float(noise_from_output(output, x, alpha)) == pytest.approx(noise, rel=1e-5)
    assert float(predict_x0(x, torch.tensor([noise]), alpha)) == pytest.approx(x0, rel=1e-5)


@torch.no_grad()
def test_a_preconditioned_network_gives_the_noise_that_its_output_stands_for():
    model, x, times = lively(fresh(SHAPES["twin"], 0)), drawn(1, 4, 4, SIDE, SIDE), torch.tensor([0, 333, 666, 999])
    unet = UNet(replace(model.denoising_unet.config, preconditioned=False))
    unet.load_state_dict(model.denoising_unet.state_dict())
    output = denoise(replace(model, denoising_unet=unet.eval()), x, times)
    alpha = alphas_cumprod()[times][:, None, None, None]
    assert torch.allclose(denoise(model, x, times), noise_from_output(output, x, alpha), atol=1e-4)
    assert float(output.abs().mean()) > 0.1


@torch.no_grad()
def test_fresh_weights_are_a_function_of_the_seed():
    one, same, other = (fresh(SHAPES["twin"], seed).motion_extractor.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(value, same[key]) for key, value in one.items())
    assert not torch.equal(one["detector.fc_kp.weight"], other["detector.fc_kp.weight"])
    assert one["detector.fc_kp.bias"].abs().min() > 0, "biases of 0 make layer norms explode where a picture is black"


@torch.no_grad()
def test_frames_without_temporal_modules_know_nothing_of_one_another():
    model, x, times = lively(fresh(SHAPES["twin"], 0)), drawn(1, 4, 4, SIDE, SIDE), torch.tensor([0, 333, 666, 999])
    changed = torch.cat([x[:, :3], drawn(1, 1, 4, SIDE, SIDE, seed=9)], 1)
    alone = [denoise(model, latents, times, temporal=False)[:, :3] for latents in (x, changed)]
    together = [denoise(model, latents, times)[:, :3] for latents in (x, changed)]
    assert torch.allclose(*alone, atol=1e-6)
    assert not torch.allclose(*together, atol=1e-3)


@torch.no_grad()
def test_chunkwise_attention_ends_at_the_chunk():
    whole, times = lively(fresh(SHAPES["twin"], 0)), torch.tensor([0, 0, 999, 999])
    ended = chunked(whole, 2)
    x = drawn(1, 4, 4, SIDE, SIDE)
    changed = torch.cat([x[:, :3], drawn(1, 1, 4, SIDE, SIDE, seed=9)], 1)
    before, after = (denoise(ended, latents, times) for latents in (x, changed))
    assert torch.allclose(before[:, :2], after[:, :2], atol=1e-6)
    assert not torch.allclose(before[:, 2], after[:, 2], atol=1e-3)
    assert not torch.allclose(before, denoise(whole, x, times), atol=1e-3)


def test_ablations_are_rows_that_a_run_follows_and_its_weights_remember(tmp_path):
    assert not preset("small-unslid", "3").sliding
    row = preset("small-chunkwise", "3")
    assert row == replace(preset("small", "3"), chunkwise=True)
    weights = save_networks(fresh(SHAPES["twin"], 0), tmp_path / "weights")
    data = tmp_path / "data"
    prepare_drawn(data, "train", range(1), Drawing(64, 8, 1))
    tiny = replace(row, size=64, chunks=1, frames=2, perceptual=0.0, adversarial=0.0)
    source, _ = assemble("small-chunkwise", "3", tiny, [data], weights, 0)
    assert source.model.denoising_unet.config.chunk_frames == 2
    written = save_networks(source.model, tmp_path / "again")
    again = load_model(written, torch.device("cpu"), torch.float32)
    assert again.denoising_unet.config == source.model.denoising_unet.config
    header = read_metadata(written / "personalive" / "denoising_unet.safetensors")["personalive_config"]
    assert json.loads(header)["chunk"] == 2  # files in use have this name for it
    assert again.motion_encoder.config.heads == SHAPES["twin"].face_encoder.heads != FaceEncoderConfig.heads


@torch.no_grad()
def test_each_clip_of_a_batch_may_have_its_own_noise_levels():
    model, x = lively(fresh(SHAPES["twin"], 0)), drawn(2, 2, 4, SIDE, SIDE)
    times = torch.tensor([[0, 333], [666, 999]])
    both = denoise(model, x, times)
    for clip in range(2):
        assert torch.allclose(both[clip], denoise(model, x, times[clip])[clip], atol=1e-6)
    assert not torch.allclose(both[0], both[1])


def test_heat_error_by_hand():
    """A point in the middle of four cells, and one beyond the corner, of a map of 6 rows and 4 columns."""
    maps = torch.zeros(1, 2, 6, 4)
    maps[0, 0, 3, 2] = maps[0, 1, 5, 3] = 2.0
    places = torch.tensor([[(0.0, 0.0), (5.0, 5.0)]])
    total = math.log(23 + math.exp(2.0))
    inner = total - 2.0 / 9  # each of the four cells gives a ninth of its quarter to this one
    corner = total * 4 / 9 - 2.0 / 9  # five of its nine neighbours are outside
    assert float(heat_error(maps, places)) == pytest.approx((inner + corner) / 2, rel=1e-5)


def test_heat_error_moves_maps_to_their_places():
    maps, places = torch.zeros(2, 3, 8, 8, requires_grad=True), drawn(2, 3, 2, seed=4).clamp(-0.6, 0.6)
    for _ in range(1000):
        (slope,) = torch.autograd.grad(heat_error(maps, places), maps)
        maps = (maps - 10 * slope).detach().requires_grad_()
    assert float((soft_argmax(maps.detach()) - places).abs().max()) < 0.05


def test_bin_error_by_hand():
    scores = torch.zeros(1, BINS)
    scores[0, 33] = math.log(3)  # bin 33 stands for 1.5 degrees, bin 32 for -1.5
    total = 3 + (BINS - 1)
    expected = -(0.75 * math.log(3 / total) + 0.25 * math.log(1 / total))
    assert float(bin_error(scores, torch.tensor([0.75]))) == pytest.approx(expected, rel=1e-5)
    assert float(bin_error(scores, torch.tensor([500.0]))) == pytest.approx(math.log(total), rel=1e-5)


def test_heads_of_lengths_are_solved_for():
    model = fresh(SHAPES["twin"], 0)
    source = toy_source(model, *(drawn_clip("train", index, Drawing(64, 8, 5)) for index in range(3)))
    clip = source.data.clip(1)
    solve_lengths(model, source, 24)
    with torch.no_grad():
        pictures = functional.interpolate(to_signed(clip.pictures.numpy()), size=256, mode="bilinear") / 2 + 0.5
        pose, canonical = model.motion_extractor(pictures)
    # fewer unknowns than pictures: 16 features and one constant of 24
    for found, true in (
        (pose.translation[:, :2], clip.motion.pose.translation[:, :2]),
        (pose.scale, clip.motion.pose.scale),
    ):
        assert float((found - true).abs().mean()) < 0.5 * float((true - true.mean(0)).abs().mean())
    assert torch.allclose(canonical, clip.canonical, atol=0.02)
    largest = model.motion_extractor.detector.fc_scale.weight.detach().abs().max()
    assert float(largest) < 10, "half precision loses what cancels"


def test_exported_extractors_have_solved_heads():
    model = fresh(SHAPES["twin"], 0)
    assert stage_of("keypoints", preset("small", "keypoints"), model, 0).finish is solve_lengths


def test_keypoint_losses_teach_the_stages_and_the_heads():
    model = fresh(SHAPES["twin"], 0)
    pointers = fresh_pointers(model.motion_extractor.detector.widths)
    initialise(pointers, "0")
    source = toy_source(model, drawn_clip("train", 0, Drawing(64, 4, 5)))
    row = replace(preset("small", "keypoints"), size=64, clips=2)
    model.motion_extractor.requires_grad_(True)
    losses = keypoint_losses(pointers, source, row, 0, 0, 0, 0)
    assert set(losses) == {"angles", "translation", "scale", "keypoints", "places"}
    losses["places"].backward()
    detector = model.motion_extractor.detector
    assert float(detector.downsample_layers[0][0].weight.grad.abs().sum()) > 0
    assert detector.fc_pitch.weight.grad is None
    heads = {"angles": "fc_pitch", "translation": "fc_t", "scale": "fc_scale", "keypoints": "fc_kp"}
    for loss, head in heads.items():
        detector.zero_grad()
        keypoint_losses(pointers, source, row, 0, 0, 0, 0)[loss].backward()
        taught = {name for name in heads.values() if getattr(detector, name).weight.grad is not None}
        assert taught == {head}, "no head makes up for another's error"
