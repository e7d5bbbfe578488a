"""What the paper takes ready-made and the small model learns: where its VAE begins, and what its decoder may change."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

from personalive_core.backends.personalive.types import LATENT_PIXELS
from personalive_core.drawn.truth import EXPRESSION
from personalive_core.media.tensors import to_signed
from personalive_core.training.foundations import (
    EDGES,
    JITTER,
    PIXELS,
    READING,
    _crops,
    decoder_losses,
    face_losses,
    in_boxes,
    jittered,
    picture_losses,
    vae_losses,
)
from personalive_core.training.judging import PictureLoss
from personalive_core.training.loop import Run, train
from personalive_core.training.losses import face_weight
from personalive_core.training.networks import SHAPES, fresh, networks_of
from personalive_core.training.prepare import Drawing, drawn_clip, facial_code
from personalive_core.training.presets import preset
from personalive_core.training.recipe import stage_of
from personalive_core.training.source import face_crops
from tests.training.toy import RED, toy_clip, toy_source

PLAIN = PictureLoss(None, None)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def pictures():
    """Eight people, [8, 3, 128, 128] in [-1, 1]."""
    clips = [drawn_clip("test", index, Drawing(128, 1)) for index in range(8)]
    return torch.cat([to_signed(clip.pictures.numpy()) for clip in clips])


def mean_colours(pictures):
    return functional.avg_pool2d(pictures, LATENT_PIXELS)


@torch.no_grad()
def test_a_fresh_vae_passes_mean_colours(pictures):
    """Brightness and contrast too, which norms take away: a random VAE's best line through them leaves half over."""
    vae = fresh(SHAPES["small"], 5).vae
    posterior = vae.encode(pictures).latent_dist
    decoded, true = mean_colours(vae.decode(posterior.mean).sample), mean_colours(pictures)
    gain = (decoded * true).sum() / (true * true).sum()
    assert 0.5 < float(gain) < 1.5
    assert float((decoded - gain * true).square().mean()) < 0.1 * float((gain * true).var())
    assert float(posterior.std.mean()) < 0.25 * float(posterior.mean.std())


@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_a_fresh_facial_encoder_is_alive_and_says_little(seed):
    """Its one rectified map is above zero nearly everywhere, so that gradients come through."""
    encoder = fresh(SHAPES["small"], seed).motion_encoder.train()
    crops = face_crops(drawn_clip("test", 0, Drawing(128, 3, 20)), torch.arange(3))
    inside = []
    conv6 = encoder.model.conv6
    encoder.model.conv6 = nn.Sequential(conv6, Noting(inside))
    embedding = encoder(crops) - encoder.pe
    assert float((inside[0] > 0).float().mean()) > 0.9
    assert float(embedding.std()) < 0.2


def test_a_facial_embedding_is_read_off_cells_and_the_reading_stays(tmp_path):
    """A map that says each number in its cell gives the code of those numbers, before and after training."""
    source = drawn_source(fresh(SHAPES["twin"], 0))
    encoder = source.model.motion_encoder
    row = replace(preset("small", "face"), steps=2, size=64, clips=2, ema=0.0)
    stage = stage_of("face", row, source.model, 0)
    train(Run(tmp_path, "face", row, 0, export=lambda *_: None, quiet=True), stage, source,
          networks_of(source.model, row.trains))  # fmt: skip
    numbers = torch.linspace(-1, 1, len(EXPRESSION))
    picture = torch.ones(28, 28)
    for name, number in zip(EXPRESSION, numbers, strict=True):
        ((top, left),) = ((r, c) for r, line in enumerate(READING) for c, there in enumerate(line) if there == name)
        rows = slice(-(-top * 28 // 3), -(-(top + 1) * 28 // 3))
        picture[rows, left * 7 : left * 7 + 7] += number
    read = encoder.final_proj(encoder.model.fc(picture.flatten()[None])).unflatten(1, (32, 16)) + encoder.pe
    assert torch.allclose(read, facial_code(numbers[None]), atol=1e-4)


class Noting(nn.Module):
    """Keeps what goes through."""

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def forward(self, x):
        self.seen.append(x)
        return x


def test_picture_losses_by_hand():
    true = torch.zeros(1, 3, 2, 2)
    decoded = true.clone()
    decoded[0, 0, 0, 0] = 0.6
    losses = picture_losses(decoded, true, torch.ones(1, 1, 2, 2))
    assert float(losses["l2"]) == pytest.approx(0.36 / 12)
    assert float(losses["pixels"]) == pytest.approx(PIXELS * 0.6 / 12)
    assert float(losses["edges"]) == pytest.approx(EDGES * 2 * 0.6 / 6)  # one edge of six across, one of six down


def drawn_source(model):
    return toy_source(model, *(drawn_clip("train", index, Drawing(64, 2, 5)) for index in range(2)))


def test_the_decoder_learns_alone_and_latents_stay_what_they_were(tmp_path):
    source = drawn_source(fresh(SHAPES["twin"], 0))
    row = replace(preset("small", "decoder"), steps=12, size=64, rate=3e-3, warmup=0, ema=0.0)
    vae, before = source.model.vae, copy.deepcopy(source.model.vae.state_dict())
    first = float(decoder_losses(PLAIN, source, row, 1, 0, 0, 0)["l2"].detach())
    run = Run(tmp_path / "run", "decoder", row, 0, export=lambda *_: None, quiet=True)
    train(run, stage_of("decoder", row, source.model, 0), source, networks_of(source.model, row.trains))
    changed = {key.partition(".")[0] for key, value in vae.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"decoder", "post_quant_conv"}
    assert float(decoder_losses(PLAIN, source, row, 1, 0, 0, 0)["l2"].detach()) < 0.9 * first


def test_the_vae_learns_on_crops_or_whole_pictures():
    source, seen = drawn_source(fresh(SHAPES["twin"], 0)), []
    encode = source.model.vae.encode
    source.model.vae.encode = lambda pictures: seen.append(pictures.shape) or encode(pictures)
    row = replace(preset("small", "vae"), size=64, clips=3)
    for crop in (0, 32):
        losses = vae_losses(PLAIN, source, replace(row, crop=crop), 0, 0, 0, 0)
        assert set(losses) == {"l2", "pixels", "edges", "kl"}
    assert seen == [(3, 3, 64, 64), (3, 3, 32, 32)]


@pytest.mark.parametrize(
    ("stage", "own"), [("vae", {"l2", "pixels", "edges", "kl"}), ("decoder", {"l2", "pixels", "edges"})]
)
def test_a_discriminator_judges_the_vae_from_the_rows_steps_on(stage, own):
    source = drawn_source(fresh(SHAPES["twin"], 0))
    row = replace(preset("small", stage), size=64, crop=32, clips=2, penalty=0.0)
    assert not stage_of(stage, row, source.model, 0).extra  # the small model's was not judged
    row = replace(row, adversarial=0.5, critic_from=2, generator_from=3)
    made = stage_of(stage, row, source.model, 0)
    assert set(made.extra) == {"critic"}
    terms = [set(made.objective(source, row, 0, step, 0, 0)) - own for step in (1, 2, 3)]
    assert terms == [set(), {"critic"}, {"critic", "adversarial"}]
    losses = made.objective(source, row, 0, 3, 0, 0)
    (learned,) = torch.autograd.grad(losses["adversarial"], source.model.vae.decoder.conv_out.bias, retain_graph=True)
    assert float(learned.abs().sum()) > 0
    plain = {name: float(value.detach()) for name, value in losses.items() if name in own}
    alone = (vae_losses if stage == "vae" else decoder_losses)(PLAIN, source, row, 0, 3, 0, 0)
    assert plain == {name: float(value.detach()) for name, value in alone.items()}


def test_a_pixels_weight_is_cropped_with_it():
    clip = drawn_clip("train", 0, Drawing(64, 2, 5))
    weight = face_weight(clip.motion.box, 64, 6.0)
    painted = (weight > 1).to(torch.uint8).permute(0, 2, 3, 1).expand(-1, -1, -1, 3) * 255
    source = toy_source(fresh(SHAPES["twin"], 0), replace(clip, pictures=painted))
    row = replace(preset("small", "vae"), size=64, clips=3)
    assert row.face > 1
    for crop in (0, 32):
        pictures, weights = _crops(source, replace(row, crop=crop), 0, 0, 0, 0)
        assert torch.equal(weights > 1, pictures[:, :1] > 0)
        assert (weights > 1).any()
        assert (weights < 1).any()


def test_points_in_boxes_by_hand():
    """Of a picture of 100 pixels and a box from (20, 40) to (60, 100): its corners and its middle."""
    box = torch.tensor([[20, 40, 60, 100]])
    points = torch.tensor([[(20.0, 40.0), (60.0, 100.0), (40.0, 70.0)]]) / 50 - 1
    assert torch.allclose(in_boxes(points, box, 100), torch.tensor([[(-1.0, -1.0), (1.0, 1.0), (0.0, 0.0)]]), atol=1e-6)


def test_boxes_err_by_little_and_stay_in_the_picture():
    boxes, row = torch.tensor([[0.0, 20.0, 60.0, 80.0]]).expand(200, -1), replace(preset("small", "face"), size=128)
    moved = jittered(boxes, row, 0, 0, 0, 0).float() - boxes
    assert 0.5 < float(moved[:, 1:].std()) / (JITTER * 60) < 1.5
    assert int(jittered(boxes, row, 0, 0, 0, 0).min()) == 0
    assert torch.equal(jittered(boxes, replace(row, augment=0.0), 0, 0, 0, 0).float(), boxes)


def test_face_losses_teach_the_maps_and_the_embedding():
    source = drawn_source(fresh(SHAPES["twin"], 0))
    row, encoder = replace(preset("small", "face"), size=64, clips=2), source.model.motion_encoder
    encoder.requires_grad_(True)
    losses = face_losses(source, row, 0, 0, 0, 0)
    losses["places"].backward()
    assert float(encoder.model.l0.weight.grad.abs().sum()) > 0
    assert encoder.model.conv6.weight.grad is None
    face_losses(source, row, 0, 0, 0, 0)["embedding"].backward()
    assert float(encoder.model.conv6.weight.grad.abs().sum()) > 0


def test_without_landmarks_faces_are_learned_from_their_embedding_alone():
    source = toy_source(fresh(SHAPES["twin"], 0), toy_clip(RED, 4))
    row = replace(preset("small", "face"), size=64, clips=2)
    assert set(face_losses(source, row, 0, 0, 0, 0)) == {"embedding"}
