"""The published recipe's own parts: whose error, which masks, what is dropped, the discriminator's levels and pace."""

import json
from dataclasses import fields, replace

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from personalive_core.backends.personalive.types import STREAM, StreamConfig
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.modules.schedule import add_noise, alphas_cumprod, predict_x0
from personalive_core.training import drops, stages
from personalive_core.training.augment import AUGMENTATIONS, hue_turns, jitter_colours, published
from personalive_core.training.checkpoint import STATE_FILE, load_run
from personalive_core.training.data import generator, pick
from personalive_core.training.discriminator import Discriminator, begin_unlevelled
from personalive_core.training.judging import Judged, PictureLoss
from personalive_core.training.loop import Run, train
from personalive_core.training.losses import masked_error, squared_error
from personalive_core.training.networks import networks_of
from personalive_core.training.presets import Preset, preset
from personalive_core.training.recipe import stage_of
from personalive_core.training.regions import error_mask, region_boxes
from personalive_core.training.report import read_metrics
from tests.training.toy import BLUE, RED, UNETS, row_of, speaking, toy_clip, toy_source, twin

NUMBERS = (0, 7, 0, 0)
DROPS = {"dropped_image": 0.5, "dropped_motion": 0.5, "dropped_pose": 0.5, "dropped_reference": 0.3}


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _alone():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def people(frames=4):
    return toy_source(speaking(twin()), toy_clip(RED, frames), toy_clip(BLUE, frames))


def test_the_published_rows_are_the_published_recipe():
    one, two, three = (preset("published", stage) for stage in "123")
    assert [(row.steps, row.clips) for row in (one, two, three)] == [(50_000, 8), (50_000, 4), (10_000, 1)]
    assert {(row.rate, row.decay, row.clip_norm, row.precision) for row in (one, two, three)} == {
        (1e-5, 1e-2, 1.0, "fp16")
    }
    assert one.trains == two.trains == (*UNETS, "motion_encoder")
    assert (three.trains, three.layers) == (("denoising_unet",), "temporal_modules")
    assert (one.target, one.noise_offset, one.masked, one.levels) == ("x0", 0.05, 1.0, 0.0)
    assert (two.generator_from, two.critic_from, two.critic_rate, two.penalty) == (3_000, 5_000, 2e-5, 0.0)
    assert (two.perceptual, two.adversarial, two.features, two.pure_noise) == (2.0, 0.05, "lpips", True)
    assert (three.learned_chunks, three.chunks, three.frames, three.critic_from) == ((0, 3, 6), 7, 4, 50)
    assert StreamConfig(window=three.frames).lookahead + three.chunks * three.frames == 40


def test_the_defaults_are_without_the_recipe():
    off = {"resting": (), "target": "noise", "masked": 0.0, "jitter": "smooth", "penalty": 10.0, "precision": "no"}
    assert {field.name: field.default for field in fields(Preset) if field.name in off} == off
    assert not drops.dropped_by(preset("small", "2"))


# Stage 1


def test_x0_loss_is_the_error_of_the_clean_latents_with_an_offset_in_the_noise(monkeypatch):
    source, seen = people(), []
    denoise = stages._denoise

    def noted(model, items, x, timesteps, *given):
        seen.append((items, x, timesteps, denoise(model, items, x, timesteps, *given)))
        return seen[-1][-1]

    monkeypatch.setattr(stages, "_denoise", noted)
    row = row_of(target="x0", masked=1.0)
    terms, offset = (stages.image_losses(source, replace(row, noise_offset=n), *NUMBERS) for n in (0.0, 0.5))
    items, x, timesteps, eps = seen[0]
    alpha = alphas_cumprod()[timesteps][..., None, None, None]
    x0 = predict_x0(x, eps, alpha)
    assert torch.allclose(terms["x0"], squared_error(x0, items.latents))
    mask = error_mask(items.regions.flatten(0, 1), 64, 8)
    assert torch.allclose(terms["masked"], masked_error(x0.flatten(0, 1), items.latents.flatten(0, 1), mask))
    assert 0 < terms["masked"].item() != terms["x0"].item()
    more = (seen[1][1] - x) / (1 - alpha).sqrt()
    assert torch.allclose(more, more[..., :1, :1].expand_as(more), atol=1e-5)  # the same in all pixels
    assert float(more.std()) == pytest.approx(0.5, rel=0.5)
    assert set(offset) == {"x0", "masked"}


def test_masks_are_one_in_the_face_and_two_in_its_eyes_and_mouth():
    face = torch.tensor([[10.0, 20.0, 50.0, 60.0]])
    mask = error_mask(region_boxes(face, None, 64), 64, 64)[0, 0]
    assert sorted(mask.unique().tolist()) == [0.0, 1.0, 2.0]
    assert (mask > 0).nonzero().aminmax(dim=0).max.tolist() == [59, 49]
    assert float(mask[35, 24]) == float(mask[47, 30]) == 2.0  # the eye on the left; the mouth
    marks = torch.zeros(1, 31, 2)
    boxes = region_boxes(face, marks - 0.5, 64)
    assert torch.equal(boxes[0, 1:], torch.full((3, 4), 16.0))  # landmarks, not the usual place
    assert float(masked_error(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))) == 8.5


@pytest.mark.parametrize("name", DROPS)
def test_each_condition_is_dropped_by_its_share(name):
    row = row_of(**{name: DROPS[name]})
    features = tuple((torch.randn(40, n, 3), torch.randn(40, n, 3)) for n in (10, 20))
    clip, motion = torch.ones(40, 1, 5), MotionFeatures(torch.ones(40, 2, 3, 4), torch.ones(40, 2, 3, 4, 4))
    dropped = drops.drop_motion(row, motion, *NUMBERS)
    alive = {
        "dropped_image": drops.drop_image(row, clip, *NUMBERS).mean((1, 2)),
        "dropped_motion": dropped.face.mean((1, 2, 3)),
        "dropped_pose": dropped.pose.mean((1, 2, 3, 4)),
    }
    for key, values in alive.items():
        if key == name:
            assert set(values.tolist()) == {0.0, 1.0}
            assert 10 <= float(values.sum()) <= 30
        else:
            assert bool((values == 1).all())
    kept = drops.drop_tokens(row, features, *NUMBERS)
    if name == "dropped_reference":
        assert [key.shape[1] for key, _ in kept] == [7, 14]
        at = (features[0][0][0, None] == kept[0][0][0, :, None]).all(-1).nonzero()[:, 1]
        assert torch.equal(features[0][1][0][at], kept[0][1][0])  # values go with their keys
    else:
        assert kept is features


def test_a_margin_keeps_the_reference_away_where_the_clip_is_long_enough():
    data = people(12).data
    picks = [pick(data, 3, generator(i), margin=8) for i in range(40)]
    assert all(abs(i - p.reference) >= 8 for p in picks for i in p.driving if not 4 <= p.reference < 8)
    assert any(4 <= p.reference < 8 for p in picks)  # those have no frame that far away


def test_published_augmentation_changes_colours_and_places_by_its_numbers():
    picture = torch.linspace(-1, 1, 32).expand(6, 3, 32, 32).contiguous()
    assert AUGMENTATIONS["published"] is published
    assert published(picture, 0.0, 1) is picture
    one, again, other = published(picture, 1.0, 1), published(picture, 1.0, 1), published(picture, 1.0, 2)
    assert torch.equal(one, again)
    assert float((one - other).abs().mean()) > 0.05
    assert float((one - picture).abs().mean()) > 0.05
    assert float(one.abs().max()) <= 1
    assert torch.allclose(jitter_colours(picture, 0.0, generator(1)), picture, atol=1e-6)
    turned = hue_turns(torch.tensor([0.0, 1 / 3, 1.0]))
    assert torch.allclose(turned[0], torch.eye(3), atol=1e-6)
    assert torch.allclose(turned[1] @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]), atol=1e-6)
    assert torch.allclose(turned[1].sum(1), torch.ones(3), atol=1e-6)  # greys stay


# Stage 2


def test_stage_2_starts_from_noise_and_noises_x0_anew(monkeypatch):
    source, row, seen = people(), row_of(clips=1, frames=1, pure_noise=True, renoised=True), []
    denoise = stages._denoise

    def noted(model, items, x, timesteps, *given):
        eps = denoise(model, items, x, timesteps, *given)
        seen.append((x, eps))
        return eps

    monkeypatch.setattr(stages, "_denoise", noted)
    step = next(s for s in range(20) if generator(0, s, 0, 0, 2).integers(1, 5) == 2)
    stages.distillation_losses(PictureLoss(None, None), source, row, 0, step, 0, 0)
    assert len(seen) == 2
    assert torch.equal(seen[0][0], stages.normal(seen[0][0].shape, 0, step, 0, 0, 1))
    x0 = STREAM.schedule.clean(*seen[0], torch.tensor([3]))
    left = (seen[1][0] - alphas_cumprod()[666].sqrt() * x0) / (1 - alphas_cumprod()[666]).sqrt()
    assert torch.allclose(left, stages.normal(x0.shape, 0, step, 0, 0, 6, 3), atol=1e-4)  # fresh, not the predicted


def test_the_discriminator_is_told_the_level_and_begins_without_it():
    critic, pictures = Discriminator(32, most=8, levels=4), torch.randn(2, 3, 32, 32)
    begin_unlevelled(critic)
    low, high = torch.zeros(2).long(), torch.full((2,), 3)
    assert torch.equal(critic(pictures, low), critic(pictures, high))
    critic(pictures, high).sum().backward()
    for block in critic.blocks:
        assert bool(block.level.weight.grad[:, 3].ne(0).any())
        block.level.weight.data.add_(0.1 * torch.arange(4.0))
    assert not torch.allclose(critic(pictures, low), critic(pictures, high))


def test_adversarial_terms_begin_at_their_steps_and_without_r1():
    judge = PictureLoss(None, Discriminator(32, most=8, levels=4))
    row = row_of(adversarial=0.05, penalty=0.0, leveled=True, generator_from=3, critic_from=5, masked=2.0)
    made, true, box = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32), torch.tensor([[0.0, 0.0, 32.0, 32.0]])
    level, regions = torch.tensor([2]), region_boxes(box, None, 32)
    terms = [judge(row, made, true, box, Judged(step, regions, level)) for step in (2, 3, 5)]
    assert [set(t) for t in terms] == [
        {"l2", "masked"},
        {"l2", "masked", "adversarial"},
        {"l2", "masked", "adversarial", "critic"},
    ]
    assert 2.0 < float(terms[0]["masked"]) < 8.0  # 2 x (1 or 4)


def learn(folder, stage, row, source=None):
    source = source or people(24)
    run = Run(folder, stage, row, 0, export=lambda *_: None, quiet=True)
    train(run, stage_of(stage, row, source.model, 0), source, networks_of(source.model, row.trains))
    return source


@pytest.mark.slow
def test_the_published_stage_2_runs_with_its_own_rate_and_resting_layers(tmp_path):
    row = replace(
        preset("published", "2"), steps=2, clips=2, size=64, precision="no", perceptual=0.0, critic_from=1, margin=2,
        generator_from=0, critic_rate=1e-3,
    )  # fmt: skip
    before = {key: value.clone() for key, value in people().model.reference_unet.state_dict().items()}
    source = learn(tmp_path, "2", row)
    after = source.model.reference_unet.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(value, after[key])}
    assert moved
    assert not any(key.startswith("up_blocks.3") for key in moved)
    state = load_file(tmp_path / STATE_FILE)
    assert any(key.startswith("adam/exp_avg/extra.critic") for key in state)
    first = stage_of("2", row, twin(), 0).extra["critic"].state_dict()["score.weight"]
    change = (state["weight/extra.critic.score.weight"] - first).abs().max()
    assert float(change) == pytest.approx(1e-3, rel=0.05)  # one step of Adam is the rate


# Stage 3


def test_the_published_stage_3_trains_temporal_modules_on_all_frames_of_its_windows(tmp_path, monkeypatch):
    row = replace(
        preset("published", "3"), steps=1, frames=1, size=64, precision="no", perceptual=0.0, critic_from=0
    )  # fmt: skip
    judged, judge = [], stages.judge_whole
    monkeypatch.setattr(stages, "judge_whole", lambda *given: judged.append(given) or judge(*given))
    source = people(10)
    before = {key: value.clone() for key, value in source.model.denoising_unet.state_dict().items()}
    learn(tmp_path, "3", row, source)
    moved = {k for k, v in source.model.denoising_unet.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all("temporal_modules" in key for key in moved)
    assert len(judged) == 3
    assert [given[3].shape[1] for given in judged] == [4, 4, 4]
    (line,) = read_metrics(tmp_path)
    assert {"loss/l2", "loss/masked", "loss/adversarial", "loss/critic"} <= set(line)


def test_a_renoising_stream_noises_what_it_predicts_with_fresh_noise(monkeypatch):
    drawn = []

    class Watched(stages.Renoising):
        def _denoise(self, latents, motion, bank, one):
            after = super()._denoise(latents, motion, bank, one)
            fresh = stages.normal(latents.shape, *NUMBERS, 5, 1_000_000 + len(self.model.seen) + 1)
            drawn.append((after, add_noise(self.model.seen[-1], fresh, one.below), self.model.seen[-1]))
            return after

    monkeypatch.setattr(stages, "Renoising", Watched)
    row = row_of(trains=("denoising_unet",), clips=1, frames=1, chunks=2, learned=1, renoised=True)
    stages.streaming_losses(PictureLoss(None, None), people(24), row, *NUMBERS)
    assert len(drawn) == 2
    for after, expected, x0 in drawn:
        assert torch.allclose(after, expected, atol=1e-5)
        assert torch.allclose(after[:, :1], x0[:, :1], atol=1e-5)  # the oldest window is clean


def test_facial_embeddings_are_read_anew_by_the_encoder_as_it_is_now():
    source, row = people(24), row_of(trains=("denoising_unet",), clips=1, frames=1, chunks=2, reread=True)
    _, truth, own, _ = stages._truth(source, row, StreamConfig(window=1), *NUMBERS)
    _, stored, _, _ = stages._truth(source, replace(row, reread=False), StreamConfig(window=1), *NUMBERS)
    assert truth.motion.embedding.shape == stored.motion.embedding.shape
    assert not torch.allclose(truth.motion.embedding, stored.motion.embedding)
    assert torch.equal(truth.motion.keypoints, stored.motion.keypoints)
    assert len(own) == 1


def test_a_run_of_an_older_version_goes_on(tmp_path):
    row = row_of(steps=1, trains=("pose_guider",))
    learn(tmp_path, "1", row)
    run = Run(tmp_path, "1", row, 0)
    older = {k: v for k, v in json.loads(run.settings).items() if k not in ("masked", "target", "resting")}
    source = people()
    networks = networks_of(source.model, row.trains)
    learner = torch.nn.ModuleDict({"networks": networks, "extra": torch.nn.ModuleDict()})
    adam = torch.optim.AdamW(learner.parameters())
    assert load_run(tmp_path, learner, {}, adam, json.dumps(older)).step == 1
