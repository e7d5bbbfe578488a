"""Training with a region cue: whom it shows, what drops it, which layer learns by it, and what it starts from."""

from dataclasses import replace

import pytest
import torch

from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.errors import InputError
from personalive_core.motion.types import CUE_SHAPE, HybridMotion
from personalive_core.training import recipe, stages
from personalive_core.training.cue import cue_of, with_cue
from personalive_core.training.data import Dataset, save_clip
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import networks_of, with_region_cue
from personalive_core.training.prepare import Drawing, drawn_clip
from personalive_core.training.presets import PRESETS, preset
from personalive_core.training.recipe import stage_of
from personalive_core.training.source import Source, batch, motion_features
from personalive_core.training.stages import (
    PictureLoss,
    distillation_losses,
    image_losses,
    sample_pictures,
    streaming_losses,
)
from tests.training.toy import RED, UNETS, row_of, speaking, toy_clip, toy_source, twin

# keypoints of a face whose regions cover the picture
AROUND = torch.zeros(21, 3)
AROUND[[2, 3, 5, 15, 18], :2] = torch.tensor([(-0.6, -0.5), (0.6, -0.5), (0.0, 0.0), (0.0, 0.0), (0.0, 0.6)])
NUMBERS = (0, 7, 0, 0)  # seed, step, micro-batch, process
CUED = row_of(region_cue=True, augment=0.0, clips=1, frames=2)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def clip():
    return drawn_clip("train", 3, Drawing(64, frames=2, actors=True))


@pytest.fixture
def source(clip):
    return Source(Dataset((None,), {0: clip}), with_region_cue(twin()))


def drawn(source, row):
    picks = source.picks(row.clips, row.frames, False, *NUMBERS)
    items = with_cue(batch(source, picks, None), source, picks, row, *NUMBERS)
    return items, None if items.cue is None else items.cue[0], torch.tensor(picks[0].driving)


def test_it_shows_the_actor_where_the_row_is_crossed(source, clip):
    _, own, rows = drawn(source, CUED)
    _, crossed, _ = drawn(source, replace(CUED, crossed=True))
    assert torch.equal(own, cue_of(clip, rows, torch.device("cpu")))
    actor = replace(clip, pictures=clip.actors, motion=replace(clip.motion, keypoints=clip.actor_keypoints))
    assert torch.equal(crossed, cue_of(actor, rows, torch.device("cpu")))
    assert (own.float() - crossed.float()).abs().mean() > 5
    assert drawn(source, row_of())[1] is None  # no preset has it by default
    older = replace(source, data=Dataset((None,), {0: replace(clip, actor_keypoints=None)}))
    with pytest.raises(InputError, match="needs the actors' keypoints, which older clips lack: draw the clips again"):
        drawn(older, replace(CUED, crossed=True))


def test_it_is_recoloured_dropped_and_hidden_where_nobody_is(source, clip):
    _, own, _ = drawn(source, CUED)
    _, coloured, _ = drawn(source, replace(CUED, augment=1.0))
    assert (own.float() - coloured.float()).abs().mean() > 2
    assert not coloured[..., 0, 0].any()  # outside the ellipse
    items, dropped, _ = drawn(source, replace(CUED, dropped_cue=1.0))
    assert not dropped.any()
    assert dropped.dtype == torch.int8
    lively(source.model)
    with torch.no_grad():
        source.model.pose_guider.conv_regions.weight.fill_(0.1)
        cues = items.cue, None, own[None]
        hidden, none, shown = (motion_features(source.model, replace(items, cue=cue)).pose for cue in cues)
    assert torch.equal(hidden, none)
    assert not torch.equal(hidden, shown)
    away = replace(clip, motion=replace(clip.motion, valid=torch.tensor([False, False])))
    assert not cue_of(away, torch.tensor([0, 1]), torch.device("cpu")).any()


def losses(stage, source, row):
    judge = PictureLoss(None, None)
    if stage == "1":
        return image_losses(source, row, *NUMBERS)
    return (distillation_losses if stage == "2" else streaming_losses)(judge, source, row, *NUMBERS)


@pytest.mark.parametrize("stage", ["1", "2", "3"])
def test_every_stage_trains_its_layer_and_a_fresh_one_changes_no_bit(stage):
    row = replace(CUED, chunks=1, learned_chunks=(0,), frames=1, trains=("pose_guider",))
    clips = toy_clip(RED, 8)
    plain = toy_source(speaking(twin()), clips)
    lively(plain.model)
    source = replace(plain, model=with_region_cue(plain.model), kept={})
    made, before = losses(stage, source, row), losses(stage, plain, replace(row, region_cue=False))
    assert made.keys() == before.keys()
    assert all(torch.equal(made[name], before[name]) for name in made)
    sum(made.values()).backward()
    assert source.model.pose_guider.conv_regions.weight.grad.abs().sum() > 0


@torch.no_grad()
def lively(model):
    """The pose guider's last layer begins as zero, which holds back the gradients of those before it."""
    model.pose_guider.conv_out_modify.weight.fill_(0.02)


@torch.no_grad()
def mean_noise_error(source, row):
    return sum(image_losses(source, row, 1, step, 0, 0)["noise"].item() for step in range(6)) / 6


@pytest.mark.slow
def test_motion_that_only_the_cue_shows_is_learned(tmp_path, monkeypatch):
    """Embedding, keypoints and pose are the same in all frames; which place is white is in the cue alone."""
    clip = toy_clip(RED, 4)
    still = {name: tensor[:1].expand_as(tensor) for name, tensor in clip.motion.tensors().items()}
    clip = replace(clip, motion=HybridMotion.of(still | {"keypoints": AROUND.expand(4, -1, -1)}))
    source = toy_source(with_region_cue(twin()), clip)
    monkeypatch.setattr(stages, "STREAM", StreamConfig(timesteps=(666,)))  # one level is learned sooner than four
    row = row_of(
        steps=40, clips=1, frames=4, region_cue=True, augment=0.0, levels=1.0, trains=(*UNETS, "image_encoder")
    )
    run = Run(tmp_path / "run", "1", row, 0, export=lambda *_: None, quiet=True)
    train(run, stage_of("1", row, source.model, 0), source, networks_of(source.model, row.trains))
    shown, hidden = (mean_noise_error(source, replace(row, dropped_cue=share)) for share in (0.0, 1.0))
    assert shown < 0.2 * hidden


def test_a_sheet_has_it_too(source):
    lively(speaking(source.model))
    with torch.no_grad():
        *_, hidden = sample_pictures(source, [0])
        source.model.pose_guider.conv_regions.weight.fill_(0.1)
        *_, shown = sample_pictures(source, [0])
    assert not torch.equal(hidden, shown)


def test_a_run_adds_it_to_what_it_starts_from_and_never_leaves_it_untrained(tmp_path, monkeypatch):
    save_clip(tmp_path / "a.clip.safetensors", toy_clip(RED, 4))
    plain = twin()
    monkeypatch.setattr(recipe, "fresh", lambda *_: plain)
    monkeypatch.setattr(recipe, "trainable", lambda start, _: with_region_cue(plain) if start == cued else plain)
    cued = tmp_path / "cued"
    for start in (None, tmp_path / "plain", cued):
        made, _ = recipe.assemble("twin", "1", row_of(region_cue=True), [tmp_path], start, 0)
        assert not made.model.pose_guider.conv_regions.weight.any()
    with pytest.raises(InputError, match="cued has a region cue, which preset twin does not train: choose portrait-re"):
        recipe.assemble("twin", "1", row_of(), [tmp_path], cued, 0)
    assert recipe.assemble("twin", "vae", row_of(), [tmp_path], cued, 0)[0].model.has_cue  # which is not of the UNets
    assert not recipe.assemble("twin", "1", row_of(), [tmp_path], None, 0)[0].model.has_cue


def test_the_family_is_portrait_with_the_flag():
    cued = {"region_cue": True}
    for stage in ("vae", "keypoints", "face", "1", "2", "3"):
        more = {"crossed": True, "dropped_cue": 0.1} if stage in "123" else {}
        assert preset("portrait-regions", stage) == replace(preset("portrait", stage), **cued, **more)
    others = [
        row for (name, _), row in PRESETS.items() if name not in ("portrait-regions", "small-regions", "small-sharp")
    ]
    assert not any(row.region_cue or row.dropped_cue for row in others)
    assert CUE_SHAPE == (4, 3, 48, 48)  # motion files hold it so
