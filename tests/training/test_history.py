"""Stage 3 with history across windows: absent first, then the stream's own finished frames; the weights know it."""

import math
from dataclasses import replace

import pytest
import torch
from accelerate.state import AcceleratorState

from personalive_core.backends.personalive.loader import load_model
from personalive_core.backends.personalive.sampling import StreamingSampler
from personalive_core.commands import train as command
from personalive_core.errors import InputError
from personalive_core.modules.unet import UNet
from personalive_core.training import networks, recipe, stages
from personalive_core.training.clock import Clock
from personalive_core.training.data import Dataset, open_dataset
from personalive_core.training.judging import PictureLoss
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import SHAPES, chunked, fresh, networks_of, remembering, save_networks
from personalive_core.training.prepare import Drawing, prepare_drawn
from personalive_core.training.presets import PRESETS, Preset, preset
from personalive_core.training.recipe import assemble, frames_needed, stage_of
from personalive_core.training.report import read_metrics
from personalive_core.training.session import PLANS
from personalive_core.training.source import Source
from personalive_core.training.streaming import history_at
from tests.training.toy import BLUE, RED, row_of, speaking, toy_clip, toy_source, twin

STAGES = ("vae", "keypoints", "face", "1", "2", "3")
ROW = row_of(trains=("denoising_unet",), clips=1, frames=2, chunks=3, learned=1, history=3)
PLAIN = PictureLoss(None, None)
NUMBERS = (0, 7, 0, 0)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _alone():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def people():
    return toy_source(twin(), toy_clip(RED, 24), toy_clip(BLUE, 24))


class Watched(StreamingSampler):
    """Keeps what goes through `step`."""

    steps: list = []  # noqa: RUF012 - emptied by the fixture

    def step(self, state, motion):
        after, done = super().step(state, motion)
        self.steps.append((self.config.history, state, after, done))
        return after, done


@pytest.fixture
def steps(monkeypatch):
    """(history of the settings, state before, state after, latents that left) of each step of a stream."""
    monkeypatch.setattr(Watched, "steps", [])
    monkeypatch.setattr(stages, "StreamingSampler", Watched)
    return Watched.steps


# the table


def test_the_preset_is_portrait_with_history_at_the_end():
    for stage in STAGES:
        row = preset("portrait-history", stage)
        assert row == replace(preset("portrait", stage), history=3 if stage == "3" else 0)
    assert [stage for name, stage in PRESETS if name == "portrait-history"] == [*STAGES]
    assert not any(row.history for (name, _), row in PRESETS.items() if name != "portrait-history")
    assert Preset(1, ()).history == 0
    assert PLANS["portrait-history"] == PLANS["portrait"]
    assert SHAPES["portrait-history"] == SHAPES["portrait"]


def test_the_session_takes_the_preset(personalive, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "train_session", lambda session: asked.append(session) or [])
    outcome = personalive("train", "session", "--preset", "portrait-history", "--output", tmp_path, "--quiet")
    assert outcome.code == 0
    assert [session.preset for session in asked] == ["portrait-history"]


def test_history_is_absent_in_the_first_four_fifths():
    assert [history_at(ROW, over).history for over in (0.0, 0.79, 0.8, 1.0)] == [0, 0, 3, 3]
    plain = replace(ROW, history=0)
    assert history_at(plain, 0.0) is history_at(plain, 1.0) is plain


# the stream


def test_the_history_is_the_streams_own_finished_frames_without_gradients(steps, monkeypatch):
    judged = []
    judge = stages.judge_stream
    monkeypatch.setattr(stages, "judge_stream", lambda *given: judged.append(given[3]) or judge(*given))
    losses = stages.streaming_losses(PLAIN, people(), ROW, *NUMBERS)
    held = [state.history for _, state, *_ in steps]
    assert [0 if past is None else len(past) for past in held] == [0, 2, 3]
    finished = torch.cat([done for *_, done in steps], 1).detach()
    for chunk, past in enumerate(held[1:], 1):
        assert torch.equal(past.latents, finished[:, : 2 * chunk][:, -3:])
        assert not past.latents.requires_grad
        assert not past.motion.face.requires_grad
        assert not past.motion.pose.requires_grad
        left = torch.cat([before.motion.face[:, :2] for _, before, *_ in steps], 1)
        assert torch.equal(past.motion.face, left[:, : 2 * chunk][:, -3:])
    assert [x0.shape[1] for x0 in judged] == [8]  # the frames in flight alone
    assert all(bool(value.isfinite()) for value in losses.values())


def test_temporal_modules_learn_from_history(steps):
    """The last step's loss changes with the history that it saw."""
    source = toy_source(speaking(twin()), toy_clip(RED, 24), toy_clip(BLUE, 24))
    with torch.no_grad():
        for key, tensor in source.model.denoising_unet.state_dict().items():
            if ".temporal_modules." in key and key.endswith("proj_out.weight"):
                tensor.copy_(torch.eye(len(tensor)))
    row = replace(ROW, chunks=2, learned_chunks=(1,))
    with_history, without = (
        sum(stages.streaming_losses(PLAIN, source, replace(row, history=count), *NUMBERS).values()) for count in (3, 0)
    )
    assert len(steps) == 4
    assert not torch.allclose(with_history, without, rtol=1e-4)


@pytest.mark.parametrize(
    ("spent", "expected", "told"), [(0.0, [0, 0, 0, 0, 3], [0, 0, 3]), (0.9, [3], [0])], ids=["steps", "minutes"]
)
def test_the_last_fifth_of_steps_or_minutes_has_history_and_its_weights_say_so(
    tmp_path, steps, monkeypatch, spent, expected, told
):
    monkeypatch.setattr(Clock, "spent", lambda _: spent)
    source, said = people(), []
    row = replace(ROW, steps=len(expected), frames=1, chunks=1, learned_chunks=(0,), save_every=2)
    export = lambda model, _: said.append(model.denoising_unet.config.history)  # noqa: E731
    run = Run(tmp_path, "3", row, 0, export=export, quiet=True)
    train(run, stage_of("3", row, source.model, 0), source, networks_of(source.model, row.trains))
    assert [history for history, *_ in steps] == expected
    assert said == told  # after two, four and five steps; of minutes the run's own clock tells


# the weights


def test_weights_remember_that_they_were_trained_with_history(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "open_dataset", lambda *_: Dataset((), {}))
    source, _ = assemble("twin", "3", replace(ROW, size=64), [], None, 0)
    unet = source.model.denoising_unet
    assert unet.config.history == 3
    assert '"history": 3' in networks._metadata(unet)["personalive_config"]
    assert "history" not in networks._metadata(source.model.reference_unet)["personalive_config"]
    assert "history" not in networks._metadata(UNet(replace(unet.config, history=0)))["personalive_config"]
    written = save_networks(source.model, tmp_path)
    assert load_model(written, torch.device("cpu"), torch.float32).denoising_unet.config == unet.config
    with pytest.raises(InputError, match="these weights attend in chunks: use others"):
        remembering(chunked(source.model, 2), 3)


@pytest.mark.slow
def test_the_stage_is_rehearsed_at_tiny_size(tmp_path, monkeypatch):
    """In bfloat16 and with the preset's own terms, where history is real."""
    monkeypatch.setattr(Clock, "spent", lambda _: 0.9)
    row = replace(preset("portrait-history", "3"), size=64, clips=1, steps=1, minutes=0.0, generator_from=0)
    row = replace(row, frames=1, chunks=2, learned_chunks=(0, 1))
    frames = frames_needed("3", row)
    prepare_drawn(tmp_path / "data", "train", range(2), Drawing(64, frames, 4, "fine"))
    model = remembering(fresh(SHAPES["twin"], 0), row.history)
    source = Source(open_dataset([tmp_path / "data"], frames, 64), model)
    run = Run(tmp_path / "run", "3", row, 0, row.precision, export=lambda *_: None, quiet=True)
    train(run, replace(stage_of("3", row, model, 0), finish=None), source, networks_of(model, row.trains))
    (line,) = read_metrics(tmp_path / "run")
    assert all(math.isfinite(value) for value in line.values())
