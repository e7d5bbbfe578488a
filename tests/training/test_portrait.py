"""The preset family portrait and its session: sizes, plan, actors of the same motion, a rehearsal of every stage."""

import math
import threading
import time
from concurrent.futures import Future
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from accelerate.state import AcceleratorState

from personalive_core.backends.personalive.loader import NEEDED
from personalive_core.backends.personalive.networks import build
from personalive_core.errors import InputError
from personalive_core.training import presets, session
from personalive_core.training.data import Dataset, generator, open_dataset, pick, read_clip, save_clip
from personalive_core.training.foundations import face_losses
from personalive_core.training.loop import Run, train
from personalive_core.training.networks import SHAPES, fresh, networks_of, trainable, with_region_cue
from personalive_core.training.prepare import Drawing, drawn_clip, prepare_drawn
from personalive_core.training.presets import preset
from personalive_core.training.recipe import frames_needed, stage_of
from personalive_core.training.report import read_metrics
from personalive_core.training.session import PLANS, Session, SessionPlan, Shard, train_session
from personalive_core.training.source import CPU, Source, acted, batch
from tests.training.toy import row_of, toy_clip

STAGES = ("vae", "keypoints", "face", "1", "2", "3")
ACTED = Drawing(64, frames=2, actors=True)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(autouse=True)
def _alone():
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def test_the_model_is_at_most_40_megabytes():
    with torch.device("meta"):
        model = build(SHAPES["portrait"])
    parameters = sum(p.numel() for name in NEEDED for p in getattr(model, name).parameters())
    assert 35e6 < 2 * parameters < 40e6


@pytest.mark.parametrize("name", ["portrait", "portrait-regions"])
def test_the_plan_fits_a_session_and_its_shards_fit_the_stages(name):
    plan = PLANS[name]
    assert [stage for stage, _ in plan.acts] == list(STAGES)
    rows = {stage: preset(name, stage) for stage in STAGES}
    assert 10 < sum(row.minutes for row in rows.values()) <= 12.5  # and half a minute to draw the first clips
    for stage, names in plan.acts:
        for shard in (plan.shards[name] for name in names):
            assert shard.drawing.size == rows[stage].size == 256
            assert shard.drawing.frames >= frames_needed(stage, rows[stage])
            assert shard.drawing.actors or not rows[stage].crossed
    people = [index for shard in plan.shards.values() for index in shard.clips]
    assert len(set(people)) == len(people)


def test_actors_do_the_same_and_are_somebody_else(tmp_path):
    clip = drawn_clip("train", 3, ACTED)
    plain = drawn_clip("train", 3, replace(ACTED, actors=False))
    assert torch.equal(clip.pictures, plain.pictures)
    assert plain.actors is None
    assert float((clip.actors.float() - clip.pictures.float()).abs().mean()) > 10
    save_clip(tmp_path / "one.clip.safetensors", clip)
    read = read_clip(tmp_path / "one.clip.safetensors")
    assert torch.equal(read.actors, clip.actors)
    assert torch.equal(read.actor_landmarks, clip.actor_landmarks)
    assert read.actor_hidden is None
    save_clip(tmp_path / "two.clip.safetensors", replace(clip, actor_hidden=torch.tensor([[True, False, True]] * 2)))
    assert read_clip(tmp_path / "two.clip.safetensors").actor_hidden.tolist() == [[True, False, True]] * 2
    assert torch.equal(read.actor_keypoints, clip.actor_keypoints)
    other = acted(clip)
    assert torch.equal(other.motion.embedding, clip.motion.embedding)  # the same expression, exactly
    assert not torch.equal(other.landmarks, clip.landmarks)
    with pytest.raises(InputError, match="needs clips with actors: .*--actors"):
        acted(plain)


def test_crossed_crops_show_the_actor_while_the_target_stays():
    clip = drawn_clip("train", 3, ACTED)
    source = Source(Dataset((None,), {0: clip}), fresh(SHAPES["twin"], 0))
    picks = source.picks(1, 2, False, 0, 0, 0, 0)
    own, crossed = (batch(source, picks, 0.0, 0, crossed=crossed) for crossed in (False, True))
    assert torch.equal(own.pictures, crossed.pictures)
    assert float((own.faces - crossed.faces).abs().mean()) > 0.05
    actor = replace(clip, pictures=clip.actors, motion=replace(clip.motion, box=clip.actor_box))
    alone = batch(replace(source, data=Dataset((None,), {0: actor}), kept={}), picks, 0.0, 0)
    assert torch.equal(crossed.faces, alone.faces)


def test_what_an_actor_hides_behind_a_hand_counts_only_where_it_is_not_the_driver():
    clip = drawn_clip("train", 3, ACTED)
    hidden = torch.tensor([[False, False, True]] * 2)
    model = fresh(SHAPES["twin"], 0)
    plain, masked, blind = (
        Source(Dataset((None,), {0: replace(clip, actor_hidden=behind)}), model)
        for behind in (None, hidden, torch.ones_like(hidden))
    )
    picks = plain.picks(1, 2, False, 0, 0, 0, 0)
    own, crossed = (batch(masked, picks, 0.0, 0, crossed=crossed).regions[0] for crossed in (False, True))
    assert torch.equal(own, batch(plain, picks, 0.0, 0, crossed=True).regions[0])
    assert torch.equal(own[:, :3], crossed[:, :3])
    assert (own[:, 3] > 0).all()
    assert (crossed[:, 3] == 0).all()
    row = replace(preset("portrait", "face"), size=64, clips=2)
    losses = [float(face_losses(source, row, 0, 0, 0, 0)["embedding"].detach()) for source in (plain, masked, blind)]
    assert losses[0] > losses[1] > losses[2] == 0
    alone = [face_losses(source, replace(row, crossed=False), 0, 0, 0, 0)["embedding"] for source in (plain, blind)]
    assert torch.equal(*alone)


def test_nobody_who_is_away_is_a_reference():
    clip = toy_clip((200, 40, 40), 8)
    valid = torch.tensor([False] * 6 + [True] * 2)
    data = Dataset((None,), {0: replace(clip, motion=replace(clip.motion, valid=valid))})
    assert {pick(data, 2, generator(i)).reference for i in range(20)} == {6, 7}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stage"), [(f"portrait{'-regions' if stage in '123' else ''}", stage) for stage in STAGES]
)
def test_every_stage_is_rehearsed_at_tiny_size(tmp_path, name, stage):
    """In bfloat16 and with the preset's own terms: what remains is the size. The region cue is one term more."""
    row = replace(preset(name, stage), size=64, clips=1, steps=1, minutes=0.0, generator_from=0, critic_from=0)
    row = replace(row, frames=1, decoded=min(row.decoded, 1), chunks=2, learned_chunks=(0, 1))
    frames = max(2, frames_needed(stage, row))
    prepare_drawn(tmp_path / "data", "train", range(2), Drawing(64, frames, 4, "fine", actors=row.crossed))
    model = fresh(SHAPES["twin"], 0)
    model = with_region_cue(model) if row.region_cue else model
    source = Source(open_dataset([tmp_path / "data"], frames, 64), model)
    run = Run(tmp_path / "run", stage, row, 0, row.precision, export=lambda *_: None, quiet=True)
    made = replace(stage_of(stage, row, source.model, 0), finish=None)
    train(run, made, source, networks_of(source.model, row.trains))
    (line,) = read_metrics(tmp_path / "run")
    assert all(math.isfinite(value) for value in line.values())
    judged = {"adversarial", "critic"}
    terms = {"vae": judged, "1": {"x0", "masked"}, "2": {"masked", "perceptual", *judged}}.get(stage, set())
    assert {f"loss/{name}" for name in terms} <= set(line)


def test_a_session_waits_for_clips_only_while_a_stage_could_still_begin(tmp_path, monkeypatch):
    pool = SimpleNamespace(submit=lambda *_: Future())  # nobody draws
    monkeypatch.setattr(session, "drawing_pool", lambda _: nullcontext(pool))
    begun = time.monotonic()
    assert train_session(Session("portrait", tmp_path, (session.LEAST_SECONDS + 0.5) / 60, 1)) == []
    assert 0.4 < time.monotonic() - begun < 10


def test_a_session_without_a_limit_waits_no_longer_than_the_system_can(tmp_path, monkeypatch):
    """Windows refuses to wait for more than 49 days."""
    waited = []
    monkeypatch.setattr(threading, "TIMEOUT_MAX", 4294967.0)
    monkeypatch.setattr(session, "drawing_pool", lambda _: nullcontext(SimpleNamespace(submit=lambda *_: Future())))
    monkeypatch.setattr(
        session, "wait", lambda _, timeout: waited.append(timeout) or SimpleNamespace(done=(), not_done=(1,))
    )
    assert train_session(Session("portrait", tmp_path, 0.0, 1)) == []
    assert waited == [4294967.0]


@pytest.mark.slow
def test_a_session_trains_what_is_left_and_goes_on(tmp_path, monkeypatch, personalive):
    for stage in ("vae", "1"):
        row = row_of(steps=2, clips=1, frames=1, trains=("vae",) if stage == "vae" else ("pose_guider",))
        row = replace(row, region_cue=stage == "1", crossed=stage == "1")  # as portrait-regions
        monkeypatch.setitem(presets.PRESETS, ("twin", stage), row)
    shards = {"some": Shard(range(2), Drawing(64, frames=2, actors=True))}
    monkeypatch.setitem(PLANS, "twin", SessionPlan(shards, (("vae", ("some",)), ("1", ("some",)))))
    monkeypatch.setattr(session, "LEAST_SECONDS", 0.0)
    first = train_session(Session("twin", tmp_path, 1e-9, 1, quiet=True))
    assert first == []  # the clips are not drawn yet
    AcceleratorState._reset_state(reset_partial_state=True)
    cards = train_session(Session("twin", tmp_path, 0.0, 1, quiet=True))
    assert [(card["stage"], card["steps"], card["finished"]) for card in cards] == [("vae", 2, True), ("1", 2, True)]
    assert [trainable(tmp_path / stage / "weights", CPU).has_cue for stage in ("vae", "1")] == [False, True]
    before = (tmp_path / "vae" / "state.safetensors").stat().st_mtime_ns
    AcceleratorState._reset_state(reset_partial_state=True)
    assert train_session(Session("twin", tmp_path, 5.0, 1, quiet=True)) == cards
    assert (tmp_path / "vae" / "state.safetensors").stat().st_mtime_ns == before
    with pytest.raises(InputError, match="vae holds a run with other settings .seed was 0, is 1.: give another"):
        train_session(Session("twin", tmp_path, 5.0, 1, seed=1, quiet=True))
    with pytest.raises(InputError, match="no session plan for preset 'small': choose one of portrait"):
        train_session(Session("small", tmp_path, 0.0, 1))
    assert personalive("train", "session", "--preset", "huge", "--output", tmp_path).code == InputError.exit_code
