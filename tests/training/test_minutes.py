"""Training against the clock and beside other work: minutes, mixed precision, reading threads, drawing processes."""

import itertools
import json
import os
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState, PartialState

from personalive_core.errors import InputError
from personalive_core.training import clock as clocks
from personalive_core.training import loop, presets
from personalive_core.training.ahead import portrait, reading_ahead
from personalive_core.training.card import CARD, write_card
from personalive_core.training.checkpoint import read_progress
from personalive_core.training.clock import Clock, seconds_to_save
from personalive_core.training.data import read_clip
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import networks_of
from personalive_core.training.optimise import rate_at
from personalive_core.training.prepare import Drawing, drawing_pool, prepare_drawn
from personalive_core.training.presets import preset
from personalive_core.training.recipe import stage_of
from personalive_core.training.report import read_metrics
from personalive_core.training.source import Source
from tests.training.test_loop import same, state_of
from tests.training.toy import BLUE, RED, UNETS, row_of, speaking, toy_clip, toy_source, twin

ROW = row_of(steps=4, clips=1, frames=1, ema=0.9, cosine=True, trains=("pose_guider",))


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def go_on(folder, row=ROW, stage="1", source=None, **changed):
    source = source or toy_source(speaking(twin()), toy_clip(RED, 24), toy_clip(BLUE, 24))
    run = Run(folder, stage, row, 0, export=lambda *_: None, quiet=True, **changed)
    train(run, stage_of(stage, row, source.model, 0), source, networks_of(source.model, row.trains))


def reading_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("personalive-training")]


def test_a_run_is_kept_before_its_minutes_are_over_and_goes_on_to_the_same_bits(tmp_path, caplog):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    go_on(whole)
    go_on(parts, minutes=1e-9, begun=time.monotonic() - 1)
    assert read_progress(parts).step == 1
    assert "kept after 1 steps; the same command goes on" in caplog.text
    go_on(parts, minutes=60.0)
    assert read_progress(parts).step == 4
    assert same(state_of(parts), state_of(whole))


def test_time_enough_to_save_is_left():
    now = time.monotonic()
    clock = Clock(limit=100.0, planned=0.0, before=0.0, begun=now - 80, started=now - 80)
    assert not clock.over(step=1.0, saving=5.0)  # 80 + 1.5 + 8.5
    assert clock.over(step=1.0, saving=12.0)  # 80 + 1.5 + 19
    assert clock.over(step=9.0, saving=4.0)
    assert not replace(clock, limit=0.0).over(1e9, 1e9)
    assert not clock.done()


def test_a_checkpoints_time_is_the_last_ones_or_by_its_size(tmp_path):
    assert seconds_to_save(tmp_path, 10, 3.0) == 3.0
    assert seconds_to_save(tmp_path, 150_000_000, 0.0) == pytest.approx(24.0)


def test_a_stage_ends_with_its_planned_minutes_over_all_calls(tmp_path, monkeypatch):
    """On a clock that moves by 30 ms with each look at it."""
    looks = itertools.count()
    moving = SimpleNamespace(monotonic=lambda: 0.03 * next(looks), time=time.time)
    monkeypatch.setattr(clocks, "time", moving)
    monkeypatch.setattr(loop, "time", moving)
    row = replace(ROW, steps=1000, minutes=0.01)
    go_on(tmp_path, row)
    progress = read_progress(tmp_path)
    assert 3 < progress.step < 20
    assert progress.seconds == pytest.approx(0.6, abs=0.1)
    rates = [line["rate"] for line in read_metrics(tmp_path)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < 0.5 * rates[0]  # the cosine follows the minutes
    go_on(tmp_path, row)  # it is finished
    assert read_progress(tmp_path).step == progress.step


def test_the_cosine_follows_steps_or_minutes_whichever_is_further():
    row = row_of(steps=100, rate=1.0, cosine=True)
    assert rate_at(row, 50) == rate_at(row, 10, 0.5) == rate_at(row, 50, 0.1)
    assert rate_at(row, 10, 2.0) == pytest.approx(0.05)


def test_reading_ahead_changes_no_bit_and_reads_before_it_is_asked(tmp_path):
    clips = toy_clip(RED, 24), toy_clip(BLUE, 24)
    go_on(tmp_path / "plain", source=toy_source(speaking(twin()), *clips))
    with reading_ahead(2) as ahead:
        source = replace(toy_source(speaking(twin()), *clips), ahead=ahead)
        go_on(tmp_path / "ahead", source=source)
        assert same(state_of(tmp_path / "plain"), state_of(tmp_path / "ahead"))
        asked = dict(ahead.asked)
        assert asked
        for place, future in asked.items():
            assert torch.equal(future.result(), portrait(source.data, place))
    with reading_ahead(0) as nothing:
        assert nothing is None


def test_what_nobody_takes_is_forgotten(monkeypatch):
    monkeypatch.setattr("personalive_core.training.ahead.MOST", 3)
    source = toy_source(None, toy_clip(RED, 24))
    with reading_ahead(1) as ahead:
        for step in range(4):
            Source(source.data, None, ahead=ahead).picks(2, 1, False, 0, step, 0, 0)
        assert len(ahead.asked) == 3


def test_the_threads_end_with_the_training_that_fails_too():
    source = toy_source(None, toy_clip(RED, 24))

    def fails():
        with reading_ahead(1) as ahead:
            Source(source.data, None, ahead=ahead).picks(2, 1, False, 0, 0, 0, 0)
            assert len(reading_threads()) == 1
            raise MemoryError

    with pytest.raises(MemoryError):
        fails()
    assert not reading_threads()


STAGES = {
    "1": {"target": "x0", "masked": 1.0},
    "2": {"adversarial": 0.05, "leveled": True, "penalty": 0.0, "renoised": True},
    "3": {"adversarial": 0.05, "leveled": True, "penalty": 0.0, "whole": True, "chunks": 2, "learned": 1},
}


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_learns_in_bfloat16(tmp_path, stage):
    trains = ("denoising_unet",) if stage == "3" else (*UNETS, "motion_encoder")
    row = row_of(steps=2, clips=1, frames=1, trains=trains, dropped_reference=0.3, dropped_image=0.5, **STAGES[stage])
    go_on(tmp_path, row, stage, precision="bf16")
    lines = read_metrics(tmp_path)
    assert len(lines) == 2
    assert all(line["gradient"] > 0 for line in lines)
    weights = [t for key, t in state_of(tmp_path).items() if key.startswith("weight/") and t.is_floating_point()]
    assert {t.dtype for t in weights} == {torch.float32}


@pytest.mark.slow
def test_processes_draw_the_same_clips(tmp_path):
    drawing = Drawing(64, frames=2)
    for folder, workers in (("one", 0), ("two", 2)):
        prepare_drawn(tmp_path / folder, "train", range(3), drawing, None, workers)
    names = [path.name for path in sorted((tmp_path / "one").iterdir())]
    assert len(names) == 3
    assert [path.name for path in sorted((tmp_path / "two").iterdir())] == names
    for name in names:
        one, two = (read_clip(tmp_path / folder / name).tensors() for folder in ("one", "two"))
        assert same(one, two)


@pytest.mark.slow
def test_a_drawing_process_that_is_killed_is_told():
    with pytest.raises(InputError, match="was killed.*with fewer --workers"), drawing_pool(1) as pool:
        pool.submit(os._exit, 1).result()


def test_one_of_several_processes_writes_the_card(tmp_path, monkeypatch):
    go_on(tmp_path)
    run = Run(tmp_path, "1", ROW, 0)
    with monkeypatch.context() as patch:
        patch.setattr(PartialState, "is_main_process", False)
        card = write_card(run, "twin", torch.device("cpu"))
    assert card["finished"]
    assert not (tmp_path / CARD).exists()
    assert write_card(run, "twin", torch.device("cpu")) == card == json.loads((tmp_path / CARD).read_text())


def test_the_command_keeps_a_run_before_its_minutes_are_over_and_writes_a_card(personalive, tmp_path, monkeypatch):
    row = row_of(steps=3, clips=1, frames=1, trains=("pose_guider",))
    monkeypatch.setitem(presets.PRESETS, ("twin", "1"), row)
    assert preset("twin", "1") == row
    clips = tmp_path / "clips"
    assert personalive("train", "prepare", "--drawn", 1, "--size", 64, "--frames", 2, "--output", clips).code == 0
    run = tmp_path / "run"
    command = ("train", "--preset", "twin", "--stage", "1", "--data", clips, "--output", run, "--quiet")
    outcome = personalive(*command, "--minutes", "1e-9", "--workers", 1, "--precision", "bf16")
    assert "not finished yet: the same command goes on" in outcome.out
    assert not reading_threads()
    card = json.loads((run / "card.json").read_text())
    assert (card["steps"], card["of"], card["finished"], card["precision"]) == (1, 3, False, "bf16")
    AcceleratorState._reset_state(reset_partial_state=True)
    outcome = personalive(*command, "--workers", 1, "--precision", "bf16")
    assert outcome.out == f"{run / 'weights'}: the weights of stage 1 after 3 steps\n"
    card = json.loads((run / "card.json").read_text())
    assert (card["steps"], card["finished"], card["preset"], card["stage"]) == (3, True, "twin", "1")
    assert {"minutes", "device", "torch", "seed"} <= set(card)
