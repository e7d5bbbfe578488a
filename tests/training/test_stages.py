"""The idea of each stage of training: a toy learns by it in seconds, and what makes the stage shows."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from personalive_core.backends.personalive.sampling import StreamingSampler
from personalive_core.backends.personalive.types import StreamConfig
from personalive_core.modules.schedule import alphas_cumprod
from personalive_core.training import stages
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import SHAPES, fresh, networks_of, recomputing
from personalive_core.training.recipe import stage_of
from personalive_core.training.source import Batch, batch, motion_features
from personalive_core.training.stages import PictureLoss, distillation_losses, image_losses, streaming_losses
from personalive_core.training.streaming import Recorder
from tests.training.toy import BLUE, RED, UNETS, row_of, speaking, toy_clip, toy_source, twin

TRAINS = (*UNETS, "image_encoder")
PLAIN = PictureLoss(None, None)
NUMBERS = (0, 7, 0, 0)  # seed, step, micro-batch, process


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture
def levels(monkeypatch):
    """Replaces the noise levels: a toy learns one sooner than four."""
    return lambda *timesteps: monkeypatch.setattr(stages, "STREAM", StreamConfig(timesteps=timesteps))


def learn(stage, source, row, tmp_path):
    run = Run(tmp_path / "run", stage, row, 0, export=lambda *_: None, quiet=True)
    train(run, stage_of(stage, row, source.model, 0), source, networks_of(source.model, row.trains))


def people(frames, model=None):
    return toy_source(model or twin(), toy_clip(RED, frames), toy_clip(BLUE, frames))


# Stage 1


@pytest.fixture
def changed_batches(monkeypatch):
    """Puts something else into the batches that a stage draws."""
    return lambda change: monkeypatch.setattr(stages, "batch", lambda *given: change(batch(*given)))


def mean_loss(source, row):
    with torch.no_grad():
        return sum(image_losses(source, row, 1, step, 0, 0)["noise"].item() for step in range(6)) / 6


def test_stage_1_learns_to_read_the_motion_and_the_reference(tmp_path, levels, changed_batches):
    levels(666)
    source, row = people(4), row_of(steps=50, rate=1.5e-3, trains=TRAINS, snr_limit=5.0, levels=1.0)
    before = mean_loss(source, row)
    learn("1", source, row, tmp_path)
    after = mean_loss(source, row)
    assert after < 0.8 * before
    changed_batches(lambda b: replace(b, embedding=b.embedding.roll(1, 1), keypoints=b.keypoints.roll(1, 1)))
    assert mean_loss(source, row) > 1.5 * after  # the other frames' motion
    changed_batches(lambda b: replace(b, reference=b.reference.flip(0), image=b.image.flip(0)))
    assert mean_loss(source, row) > 1.4 * after  # the other person's portrait


@pytest.mark.parametrize("network", ["reference_unet", "image_encoder", "pose_guider", "motion_encoder"])
def test_every_network_of_stage_1_gets_gradients(network):
    source, row = people(4), row_of(trains=(*TRAINS, "motion_encoder"))
    shaken(source.model)
    image_losses(source, row, *NUMBERS)["noise"].backward()
    assert any(p.grad is not None and bool(p.grad.ne(0).any()) for p in getattr(source.model, network).parameters())


@torch.no_grad()
def shaken(model):
    """Layers that begin as zeros hold back the gradients of those before them."""
    for name in TRAINS:
        for parameter in getattr(model, name).parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(3)))


def test_only_a_facial_encoder_that_learns_sees_crops_and_they_are_changed():
    source, seen = people(4), []

    class Encoder(nn.Module):
        def forward(self, faces):
            seen.append(faces)
            return torch.zeros(len(faces), 32, 16)

    source = replace(source, model=replace(source.model, motion_encoder=Encoder()))
    image_losses(source, row_of(), *NUMBERS)
    assert not seen
    row = row_of(trains=("motion_encoder",))
    for strength in (0.0, 1.0):
        image_losses(source, replace(row, augment=strength), *NUMBERS)
    assert seen[0].shape == (8, 3, 224, 224)
    assert float((seen[0] - seen[1]).abs().mean()) > 0.05


def test_prepared_embeddings_are_used_where_the_facial_encoder_rests():
    source = people(4)
    items: Batch = batch(source, source.picks(2, 4, False, *NUMBERS), None)
    assert torch.equal(motion_features(source.model, items).face, items.embedding)


def test_noise_levels_of_stage_1():
    everywhere = stages.draw_timesteps(row_of(), torch.Size([40, 50]), *NUMBERS)
    assert int(everywhere.min()) in range(20)
    assert int(everywhere.max()) in range(980, 1000)
    half = stages.draw_timesteps(row_of(levels=0.5), torch.Size([40, 50]), *NUMBERS)
    share = torch.isin(half, torch.tensor(StreamConfig().timesteps)).float().mean()
    assert 0.45 < float(share) < 0.55


# Stage 2


@pytest.mark.slow
def test_stage_2_brings_pictures_of_four_steps_nearer_to_the_truth(tmp_path):
    source, row = people(4), row_of(steps=40, rate=1e-3, trains=TRAINS)

    def error():
        with torch.no_grad():
            _, true, made = stages.sample_pictures(source, [0, 1])
        return float((made - true).square().mean())

    before = error()
    learn("2", source, row, tmp_path)
    assert error() < 0.8 * before


def test_stage_2_goes_through_one_to_four_levels_with_gradients_through_the_last(monkeypatch):
    source, runs = people(4), []
    denoise = stages._denoise

    def noted(model, items, x, timesteps):
        runs[-1].append((int(timesteps), torch.is_grad_enabled(), x.requires_grad))
        return denoise(model, items, x, timesteps)

    monkeypatch.setattr(stages, "_denoise", noted)
    for step in range(24):
        runs.append([])
        distillation_losses(PLAIN, source, row_of(frames=1, clips=1), 0, step, 0, 0)
    assert {len(run) for run in runs} == {1, 2, 3, 4}
    for run in runs:
        assert [level for level, *_ in run] == [999, 666, 333, 0][: len(run)]
        assert [grads for _, grads, _ in run] == [False] * (len(run) - 1) + [True]
        assert not any(leads_back for *_, leads_back in run)


def test_stage_2_starts_from_the_reference_under_noise(monkeypatch, changed_batches):
    source, row, starts = people(4), row_of(clips=1, frames=1), []
    denoise = stages._denoise
    monkeypatch.setattr(stages, "_denoise", lambda m, i, x, t: starts.append(x) or denoise(m, i, x, t))
    distillation_losses(PLAIN, source, row, *NUMBERS)
    passes = len(starts)
    changed_batches(lambda b: replace(b, reference=b.reference + 1))
    distillation_losses(PLAIN, source, row, *NUMBERS)
    left = alphas_cumprod()[999].sqrt()  # of the reference, under the highest level's noise
    assert torch.allclose(starts[passes] - starts[0], left.expand_as(starts[0]), atol=1e-6)


def test_stage_2_compares_all_latents_where_it_decodes_only_some(monkeypatch):
    source, rows, decoded = people(4), [row_of(clips=2, frames=3, decoded=count) for count in (0, 2)], []
    decode = stages.decode_for_loss
    monkeypatch.setattr(stages, "decode_for_loss", lambda model, x0: decoded.append(x0) or decode(model, x0))
    whole, some = (distillation_losses(PLAIN, source, row, *NUMBERS) for row in rows)
    every, few = decoded
    items = stages._batch(source, rows[0], 3, False, *NUMBERS)
    error = (every - items.latents.flatten(0, 1)).square().mean()
    assert "latents" not in whole
    assert torch.allclose(some["latents"], stages.LATENTS * error)
    places = [[torch.equal(x, one) for one in every].index(True) for x in few]
    assert len(set(places)) == 2
    pictures = decode(source.model, every[places]) - items.pictures.flatten(0, 1)[places]
    assert torch.allclose(some["l2"], pictures.square().mean())


def test_of_a_vae_stage_2_teaches_the_decoder_alone(tmp_path):
    vae = fresh(SHAPES["twin"], 0).vae
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    row = row_of(steps=2, trains=(*TRAINS, "vae"))
    learn("2", people(4, replace(twin(), vae=vae)), row, tmp_path)
    changed = {name.split(".")[0] for name, value in vae.state_dict().items() if not value.equal(before[name])}
    assert changed == {"decoder", "post_quant_conv"}


# Stage 3


class Watched(StreamingSampler):
    """Keeps what goes through `step`."""

    steps: list = []  # noqa: RUF012 - emptied by the fixture

    def step(self, state, motion):
        after, done = super().step(state, motion)
        self.steps.append((state, after, done, torch.is_grad_enabled()))
        return after, done


@pytest.fixture
def steps(monkeypatch):
    """(state before, state after, latents that left, whether gradients were on) of each step of a stream."""
    monkeypatch.setattr(Watched, "steps", [])
    monkeypatch.setattr(stages, "StreamingSampler", Watched)
    return Watched.steps


ROW_3 = row_of(trains=("denoising_unet",), clips=1, frames=2, chunks=5, learned=1)


@pytest.mark.slow
def test_stage_3_brings_its_stream_nearer_to_the_truth(tmp_path, steps):
    """Of the latents that leave it, from the first that were never true."""
    source, row = people(24), replace(ROW_3, trains=TRAINS, steps=25, rate=1e-3, learned=2)

    def error():
        off = []
        for step in range(3):
            steps.clear()
            numbers = (1, step, 0, 0)
            streaming_losses(PLAIN, source, row, *numbers)
            _, course, _, _ = stages._truth(source, row, StreamConfig(window=row.frames), *numbers)
            left = torch.cat([done for _, _, done, _ in steps], 1)[0, 6:]
            off.append((left - course.latents[6 : len(left) + 6]).square().mean().item())
        return sum(off)

    before = error()
    learn("3", source, row, tmp_path)
    assert error() < 0.85 * before


def test_stage_3_can_teach_temporal_modules_alone(tmp_path):
    source = people(24, speaking(twin()))
    before = {key: value.clone() for key, value in source.model.denoising_unet.state_dict().items()}
    learn("3", source, replace(ROW_3, layers="temporal_modules", steps=2, learned=2), tmp_path)
    moved = {
        key for key, value in source.model.denoising_unet.state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved
    assert all("temporal_modules" in key for key in moved)


def test_first_norms_of_what_learns_see_inputs_with_gradients():
    seen = []
    model = SimpleNamespace(denoise=lambda x, *_: seen.append(x.requires_grad) or x)
    for learns in (True, False):
        with torch.set_grad_enabled(learns):
            Recorder(model).denoise(torch.zeros(1, 16, 4, 8, 8), torch.zeros(16).long(), None, None, None)
    assert seen == [True, False]


def test_stage_3_slides_on_its_own_outputs(steps):
    streaming_losses(PLAIN, people(24), ROW_3, *NUMBERS)
    assert len(steps) == ROW_3.chunks
    for (_, after, *_), (state, *_) in itertools.pairwise(steps):
        assert torch.equal(state.latents, after.latents)
        assert not state.latents.requires_grad


def test_without_sliding_every_step_starts_from_true_latents(steps):
    streaming_losses(PLAIN, people(24), replace(ROW_3, sliding=False), *NUMBERS)
    for (_, after, *_), (state, *_) in itertools.pairwise(steps):
        assert not torch.allclose(state.latents, after.latents, atol=0.1)


def test_stage_3_has_gradients_in_its_learned_chunks_alone(steps):
    source, chosen = people(24), set()
    for step in range(8):
        steps.clear()
        streaming_losses(PLAIN, source, ROW_3, 0, step, 0, 0)
        with_gradients = [i for i, (*_, grads) in enumerate(steps) if grads]
        assert len(with_gradients) == 1
        chosen.update(with_gradients)
    assert len(chosen) > 1


def test_keyframes_join_while_training(steps):
    streaming_losses(PLAIN, people(24), ROW_3, *NUMBERS)
    assert len(steps[-1][1].keyframes) > 1
    assert steps[-1][1].keyframes.features[0][0].shape[1] > steps[0][0].keyframes.features[0][0].shape[1]


def test_half_of_the_streams_begin_as_at_inference():
    """From the reference's latents, over a lead-in whose frames belong to no picture."""
    source, led = people(24), 0
    for step in range(16):
        _, course, _, _ = stages._truth(source, ROW_3, StreamConfig(window=2), 0, step, 0, 0)
        led += not bool(course.known.all())
        assert len(course.known) == 6 + ROW_3.chunks * 2
        assert bool(course.known[6:].all())
        assert not bool(course.known.diff()[:5].any())  # the whole lead-in, or none of it
    assert 4 <= led <= 12


def test_lead_in_frames_bear_no_loss():
    source = people(24)
    course = next(
        course
        for step in range(8)
        for _, course, _, _ in [stages._truth(source, ROW_3, StreamConfig(window=2), 0, step, 0, 0)]
        if not bool(course.known.all())
    )
    x0 = torch.ones(1, 8, 4, 8, 8, requires_grad=True)  # the frames without a truth have zeros for one
    terms = stages.judge_stream(PLAIN, source.model, ROW_3, x0, course, stages.generator(0))
    sum(terms.values()).backward()
    reached = x0.grad.abs().amax((0, 2, 3, 4)) > 0
    assert reached.tolist() == [False] * 6 + [True] * 2


# All


def test_recomputed_activations_give_the_same_gradients_and_are_not_kept():
    gradients, kept = [], []
    for change in (lambda model: model, recomputing):
        source = people(4, change(twin()))
        shaken(source.model)
        held = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, held=held: held.append(t.numel()) or t, lambda t: t):
            loss = image_losses(source, row_of(frames=1), *NUMBERS)["noise"]
        loss.backward()
        kept.append(sum(held))
        unets = (source.model.denoising_unet, source.model.reference_unet)
        gradients.append([p.grad for unet in unets for p in unet.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1]) > 100
    assert all(torch.equal(one, two) for one, two in zip(*gradients, strict=True))
    assert kept[1] < 0.7 * kept[0]
