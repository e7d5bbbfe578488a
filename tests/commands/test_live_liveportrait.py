"""`personalive live --system liveportrait`: its defaults, its reference, what it refuses, and a whole session."""

import argparse
import asyncio
import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from personalive_core.animation.liveportrait_engine import LivePortraitEngine
from personalive_core.backends.liveportrait.transfer import TransferOptions
from personalive_core.backends.personalive.files import SHIPPED
from personalive_core.backends.personalive.motion import Strengths
from personalive_core.commands import live
from personalive_core.commands.live_performers import engine_for, performer_of, settle_live
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import SITTER
from personalive_core.errors import FaceError, InputError, WeightsError
from personalive_core.faces.crop import Box, Face
from personalive_core.media.video import read_frames
from tests.backends.liveportrait.onnx_file import landmark_onnx
from tests.backends.liveportrait.tiny import ANIMAL, shifted, tiny_states, write_hub
from tests.live.toy_liveportrait import ToyLive
from tests.media.films import encode, numbered

SYSTEM = ("--system", "liveportrait")


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


@pytest.fixture(scope="module")
def hub(synth, tmp_path_factory):
    states = tiny_states(synth)
    folder = write_hub(tmp_path_factory.mktemp("weights"), states)
    return write_hub(folder, states, ANIMAL, shifted)


def parsed(*given):
    parser = argparse.ArgumentParser()
    live.add_arguments(parser)
    a = parser.parse_args([str(one) for one in given])
    settle_live(a)
    return a


def performer(hub, *given):
    a = parsed(*SYSTEM, "--weights", hub, "--size", "64", "--device", "cpu", "--precision", "bf16", *given)
    return performer_of(a, engine_for(a))


def test_each_system_has_its_defaults():
    ours, other = parsed(*SYSTEM), parsed()
    assert (str(ours.weights), ours.size) == ("pretrained_weights", 512)
    assert (other.weights, other.size) == (SHIPPED["small"], 128)
    names = vars(Strengths())
    assert [getattr(ours, name) for name in names] == [1, 1, 1, 1]
    assert [getattr(other, name) for name in names] == [*names.values()]
    assert (parsed(*SYSTEM, "--scale", "0").scale, parsed("--scale", "0.7").scale) == (0, 0.7)


def test_the_drawn_portrait_is_taken_whole(hub):
    made = performer(hub)
    assert np.array_equal(made.portrait, draw_portrait(SITTER, FaceMotion(), 64))
    assert (made.paste, made.animal, made.options.stitching, made.options.multiplier) == (None, False, True, 1)
    assert made.options.transfer == TransferOptions()


def test_options_reach_the_performer(hub):
    made = performer(hub, "--region", "exp", "--absolute", "--multiplier", "1.5", "--no-stitching")
    assert made.options.transfer == TransferOptions("absolute", "exp")
    assert (made.options.multiplier, made.options.stitching) == (1.5, False)
    assert (made.options.kj, performer(hub, "--kj-mode", "off").options.kj) == (None, "off")
    animal = performer(hub, "--animal")
    assert (animal.animal, animal.options.stitching, animal.options.expression_friendly) == (True, False, True)
    ours, people = (next(one.model.warping.parameters()) for one in (animal, made))
    assert not torch.equal(ours, people)


@pytest.fixture
def detected(monkeypatch):
    """What the face detector finds."""
    found = []
    monkeypatch.setattr("personalive_core.commands.live_performers.helpful_detector", lambda *_: lambda _: tuple(found))
    return found


def test_a_reference_is_animated_around_its_face(hub, detected, tmp_path):
    path, animal = tmp_path / "me.png", tmp_path / "cat.png"
    for one in (path, animal):
        Image.fromarray(draw_portrait(SITTER, FaceMotion(), 96)[:, :80]).save(one)
    with pytest.raises(FaceError, match="no face was found in the new portrait"):
        performer(hub, "--reference", path)
    assert performer(hub, "--reference", animal, "--animal").paste is None
    detected.append(Face(Box(25, 25, 60, 65), 0.9))
    made = performer(hub, "--reference", path)
    assert made.paste is not None
    assert made.portrait.shape == (64, 64, 3)


def test_eyes_and_lips_follow_the_driving(hub, detected, tmp_path, monkeypatch):
    """They need the landmark network, something that finds the driving's face, and a reference that shows one."""
    monkeypatch.setattr(LivePortraitEngine, "load", lambda _: ToyLive())
    path, weights = tmp_path / "me.png", shutil.copytree(hub, tmp_path / "weights")
    Image.fromarray(draw_portrait(SITTER, FaceMotion(), 96)).save(path)
    given = ("--reference", path, "--weights", weights, "--eyes")
    with pytest.raises(WeightsError, match=r"need LivePortrait's landmark.onnx, .*: run `personalive download"):
        performer(hub, *given)
    points = np.random.default_rng(0).uniform(0.05, 0.95, (203, 2)).astype(np.float32)
    (weights / "liveportrait" / "landmark.onnx").write_bytes(landmark_onnx(points))
    with pytest.raises(InputError, match="how open the source's eyes are is read from 203 landmarks"):
        performer(hub, *given)
    detected.append(Face(Box(25, 25, 60, 65), 0.9))
    made = performer(hub, *given)
    assert (made.options.eyes, made.options.lips) == (True, False)
    assert made.source.motion.eyes.isfinite().all()
    assert made.landmarks is not None
    assert made.detector is not None
    drawn = performer(hub, *given[2:], "--lips")
    assert (drawn.options.lips, drawn.paste is None) == (True, False)
    assert performer(hub, *given[:-1]).landmarks is None


def test_openness_needs_a_detector(hub, tmp_path):
    weights = shutil.copytree(hub, tmp_path / "weights")
    (weights / "liveportrait" / "landmark.onnx").write_bytes(landmark_onnx(np.zeros((203, 2), np.float32)))
    with pytest.raises(InputError, match="no detector looks for it: run `personalive download --only detector`, or"):
        performer(hub, "--weights", weights, "--lips", "--detector", "none")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((*SYSTEM, "--decoder", "tiny"), "--decoder belongs to personalive, got --system liveportrait: leave it out"),
        ((*SYSTEM, "--lora", "a.safetensors"), "--lora belongs to personalive"),
        (
            (*SYSTEM, "--speed", "fp8"),
            "LivePortrait runs at speed auto, plain, compiled, got 'fp8': choose one",
        ),
        (("--region", "lip"), "--region belongs to liveportrait, got --system personalive: leave it out, or use live"),
        (("--no-stitching",), "--no-stitching belongs to liveportrait"),
        ((*SYSTEM, "--kj-mode", "source_video_smoothed"), "is for a source video, and the source is a picture"),
        ((*SYSTEM, "--multiplier", "3"), "--driving-multiplier: expected a number from 0 to 2"),
        (("--eyes",), "--eyes belongs to liveportrait, got --system personalive: leave it out, or use live"),
        ((*SYSTEM, "--animal", "--lips"), "is not known: leave --eyes and --lips out"),
        (
            (*SYSTEM, "--animal", "--absolute"),
            "animals take all of a person's motion as it is: leave --region",
        ),
    ],
)
def test_what_cannot_be_is_refused(personalive, arguments, words):
    outcome = personalive("live", *arguments)
    assert outcome.code == InputError.exit_code
    assert words in outcome.err


def test_missing_weights_are_named(personalive, tmp_path):
    outcome = personalive("live", *SYSTEM, "--weights", tmp_path, "--animal")
    assert outcome.code == WeightsError.exit_code
    assert f"run `personalive download --system liveportrait --animal --weights {tmp_path}`" in outcome.err


def test_a_film_drives_a_session(personalive, monkeypatch, hub, tmp_path):
    async def some(served, *_):
        while not served.outlet.latest:
            await asyncio.sleep(0.01)
        served.close()
        await served.closed.wait()

    monkeypatch.setattr(live, "serve", some)
    film = encode(tmp_path / "driving.mp4", [numbered(index, 64, 64) for index in range(25)])
    given = ("--driving", film, "--no-browser", "--size", "64", "--record", tmp_path / "out.mp4", "--json")
    outcome = personalive("live", *SYSTEM, "--weights", hub, "--device", "cpu", *given)
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["frames"] >= 1
    assert next(read_frames(tmp_path / "out.mp4")).image.shape == (64, 64, 3)
