"""What the paper takes ready-made and the small model learns: where its VAE begins, and what its decoder may change."""

import copy
from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from personalive_core.model import LATENT_PIXELS
from personalive_core.motion import to_signed
from personalive_core.training.foundations import EDGES, PIXELS, decoder_losses, picture_losses, vae_losses
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import SHAPES, fresh, networks_of
from personalive_core.training.prepare import Drawing, drawn_clip
from personalive_core.training.presets import preset
from personalive_core.training.recipe import stage_of
from tests.toy_training import toy_source


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


def test_picture_losses_by_hand():
    true = torch.zeros(1, 3, 2, 2)
    decoded = true.clone()
    decoded[0, 0, 0, 0] = 0.6
    losses = picture_losses(decoded, true)
    assert float(losses["l2"]) == pytest.approx(0.36 / 12)
    assert float(losses["pixels"]) == pytest.approx(PIXELS * 0.6 / 12)
    assert float(losses["edges"]) == pytest.approx(EDGES * 2 * 0.6 / 6)  # one edge of six across, one of six down


def drawn_source(model):
    return toy_source(model, *(drawn_clip("train", index, Drawing(64, 2, 5)) for index in range(2)))


def test_the_decoder_learns_alone_and_latents_stay_what_they_were(tmp_path):
    source = drawn_source(fresh(SHAPES["twin"], 0))
    row = replace(preset("small", "decoder"), steps=12, size=64, rate=3e-3, warmup=0, ema=0.0)
    vae, before = source.model.vae, copy.deepcopy(source.model.vae.state_dict())
    first = float(decoder_losses(source, row, 1, 0, 0, 0)["l2"].detach())
    run = Run(tmp_path / "run", "decoder", row, 0, export=lambda *_: None, quiet=True)
    train(run, stage_of("decoder", row, source.model, 0), source, networks_of(source.model, row.trains))
    changed = {key.partition(".")[0] for key, value in vae.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {"decoder", "post_quant_conv"}
    assert float(decoder_losses(source, row, 1, 0, 0, 0)["l2"].detach()) < 0.9 * first


def test_the_vae_learns_on_crops_or_whole_pictures():
    source, seen = drawn_source(fresh(SHAPES["twin"], 0)), []
    encode = source.model.vae.encode
    source.model.vae.encode = lambda pictures: seen.append(pictures.shape) or encode(pictures)
    row = replace(preset("small", "vae"), size=64, clips=3)
    for crop in (0, 32):
        losses = vae_losses(source, replace(row, crop=crop), 0, 0, 0, 0)
        assert set(losses) == {"l2", "pixels", "edges", "kl"}
    assert seen == [(3, 3, 64, 64), (3, 3, 32, 32)]
