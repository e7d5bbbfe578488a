"""A source video in the nodes: the frames that the command line gives, in two passes, with the right sound."""

import importlib
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from personalive_core.animation.driving import DrivingClip
from personalive_core.animation.implicit_animate import ImplicitJob, animate_implicit
from personalive_core.animation.implicit_job import SourceFace
from personalive_core.animation.liveportrait_engine import LivePortraitEngine
from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER
from personalive_core.faces.crop import Box
from personalive_core.media.video import probe, read_frames
from personalive_core.media.write import VideoWriter, WriteOptions
from tests.backends.liveportrait.tiny import CPU, tiny_states, write_hub

CORE = "_pack_without_comfyui.personalive_core"
RATE, COUNT = Fraction(30), 5
BOX = (30, 20, 90, 84)


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    pass


def film(path, person, count, rate, size=(130, 96)):
    """A person who turns, in a film that is no square and has odd sides."""
    with VideoWriter(path, size, WriteOptions(rate=rate, lossless=True)) as writer:
        for index in range(count):
            frame = np.full((size[1], size[0], 3), 60, np.uint8)
            frame[:, 10:106] = draw_portrait(person, FaceMotion(yaw=4 * index, smile=index / count), 96)
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    folder = tmp_path_factory.mktemp("films")
    return (
        film(folder / "source.mkv", SITTER, COUNT, RATE),
        film(folder / "driving.mkv", DRIVER, COUNT + 2, Fraction(25)),
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory, synth):
    return write_hub(tmp_path_factory.mktemp("hub"), tiny_states(synth))


@pytest.fixture(scope="module")
def pack(node_module, weights):
    """The modules of the nodes, and the model."""
    names = ("film", "motion", "source", "draw", "picker")
    found = {name: node_module(f"host.liveportrait_{name}") for name in names}
    node_module("host.systems")
    load = importlib.import_module(f"{CORE}.backends.liveportrait.loader").load_live
    model = node_module("host.sockets").LoadedLivePortrait(load(weights, CPU, torch.float32), weights, "human")
    footage, sockets = node_module("host.footage"), node_module("host.sockets")
    core = {name: importlib.import_module(f"{CORE}.backends.liveportrait.{name}") for name in ("finding", "stream")}
    return SimpleNamespace(**found, model=model, footage=footage, sockets=sockets, core=SimpleNamespace(**core))


@pytest.fixture(autouse=True)
def _without_comfyui(pack, monkeypatch):
    monkeypatch.setattr(pack.motion, "check_interrupt", lambda: None)
    monkeypatch.setattr(pack.draw, "check_interrupt", lambda: None)
    monkeypatch.setattr(pack.footage, "InputImpl", SimpleNamespace(VideoFromComponents=type("Parts", (), {})))


def opener(pack, path, count=0):
    """Opens a VIDEO of `path`, and counts how often."""
    video = SimpleNamespace(get_stream_source=lambda: str(path))

    def opened():
        opened.times += 1
        return pack.footage.open_frames(video, 0.0, count, 0.0, "the source video")

    opened.times = 0
    return opened


def source_of(pack, path, box=BOX, limit=1280, missing="hold", **more):
    wanted = pack.source.FaceChoice(face_box=", ".join(map(str, box)) if box else "", **more)
    return pack.film.read_source_film(pack.model, opener(pack, path), wanted, missing, limit)


def driving_of(pack, path, count=0):
    finder = pack.core.finding.Finder()
    frames, ticks = pack.motion.motion_of_driving(pack.model.networks, opener(pack, path, count), finder, "hold")
    return pack.sockets.Motion(frames, Fraction(25), pack.sockets.Footage(path, Fraction(0)), ticks=ticks)


def moved(pack, source, motion):
    how = pack.core.stream.RenderOptions(by_picture=len(motion) == 1)
    return pack.film.retargeted_film(source, motion.frames, how, motion)


def pictures(pack, result, paste=True):
    return np.stack(list(pack.draw.drawn(pack.model, result, paste)))


def test_a_box_in_an_odd_film_stays_where_it_is(pack):
    """A column is cut off at its edge; nothing is resized."""
    wanted = pack.source.FaceChoice(face_box=", ".join(map(str, BOX)))
    finder = pack.film.source_finder(pack.model, np.zeros((97, 131, 3), np.uint8), 1280, wanted)
    box = finder.track.manual
    assert (box.left, box.top, box.right, box.bottom) == BOX


def test_the_frames_are_those_of_the_command_line(pack, films, weights, tmp_path):
    """Of a film that is made smaller: the box is in pixels of the film, there and here."""
    source, driving = films
    limit = 100
    job = ImplicitJob(
        source,
        DrivingClip(driving, detector="none"),
        tmp_path / "out.mkv",
        LivePortraitEngine(weights, CPU, torch.float32),
        SourceFace(box=Box(*BOX), limit=limit),
        paste=True,
        lossless=True,
        quiet=True,
    )
    animate_implicit(job)
    told = [frame.image for frame in read_frames(tmp_path / "out.mkv")]
    result = moved(pack, source_of(pack, source, limit=limit), driving_of(pack, driving))
    ours = pictures(pack, result)
    assert len(told) == len(result) == COUNT
    assert ours.shape[1:3] == result.size(True)[::-1]
    assert np.array_equal(ours, told)
    assert result.motion.rate == probe(tmp_path / "out.mkv").rate == RATE
    times = [float(result.motion.time(n)) for n in range(COUNT)]
    assert times == pytest.approx([n / 30 for n in range(COUNT)], abs=1e-3)


def test_two_passes_hold_no_picture(pack, films):
    source = source_of(pack, films[0])
    assert (len(source), source.opened.times) == (COUNT, 1)
    assert sum(1 for _ in source.pictures()) == COUNT
    assert source.opened.times == 2


def test_the_shorter_counts_and_a_picture_drives_all(pack, films):
    source, driving = source_of(pack, films[0]), driving_of(pack, films[1])
    assert len(moved(pack, source, driving)) == COUNT
    short = pack.sockets.Motion(driving.frames[:3], driving.rate, driving.footage)
    assert len(moved(pack, source, short)) == 3
    still = pack.sockets.Motion(driving.frames[:1], driving.rate)
    assert len(moved(pack, source, still)) == COUNT


def test_a_frame_without_a_face_stays_as_it_is(pack, films, monkeypatch):
    faces = importlib.import_module(f"{CORE}.faces.crop")
    seen = iter(range(99))

    def detector(_picture):
        return () if next(seen) == 2 else (faces.Face(faces.Box(*map(float, BOX)), 1.0),)

    monkeypatch.setattr(pack.film, "live_face_detector", lambda *_: detector)
    source = source_of(pack, films[0], box=None)
    assert source.film.motion.valid.tolist() == [True, True, False, True, True]
    frames = pictures(pack, moved(pack, source, driving_of(pack, films[1])))
    own = list(source.pictures())
    assert [np.array_equal(*pair) for pair in zip(frames, own, strict=True)] == [False, False, True, False, False]
    seen = iter(range(99))
    with pytest.raises(Exception, match="no face in frame 2 of the source video"):
        source_of(pack, films[0], box=None, missing="error")


@pytest.fixture
def _quickly_drawn(pack, monkeypatch):
    """Frames stay as they are."""

    def undrawn(_model, _film, frames, _keypoints, _how):
        return (pack.core.stream.RenderedFrame(frame, True) for frame in frames)

    monkeypatch.setattr(pack.film, "animate_film", undrawn)


@pytest.mark.usefixtures("_quickly_drawn")
def test_cancel_comes_between_two_frames(pack, films, monkeypatch):
    result = moved(pack, source_of(pack, films[0]), driving_of(pack, films[1]))
    asked = iter([None, None, InterruptedError()])

    def check():
        if stop := next(asked):
            raise stop

    monkeypatch.setattr(pack.draw, "check_interrupt", check)
    made = []
    with pytest.raises(InterruptedError):
        made.extend(pack.draw.drawn(pack.model, result, True))
    assert len(made) == 2


@pytest.mark.usefixtures("_quickly_drawn")
def test_a_film_that_became_shorter_is_an_error(pack, films):
    source = source_of(pack, films[0])
    result = moved(pack, replace(source, opened=opener(pack, films[0], 3)), driving_of(pack, films[1]))
    with pytest.raises(Exception, match="had 5 frames and now has 3: run the workflow again"):
        pictures(pack, result)


@pytest.mark.parametrize(("first", "other", "taken"), [("a", "b", 0), ("", "b", 1), ("a", "", 0), ("", "", 0)])
def test_sound_is_the_drivings_or_else_the_sources(node_module, monkeypatch, first, other, taken):
    """Names stand for footage; "" for one without sound."""
    sound = node_module("host.sound")
    monkeypatch.setattr(sound, "has_audio", lambda path: path in ("a", "b"))
    given = [SimpleNamespace(path=name or "x") for name in (first, other)]
    assert sound.audible(*given) is given[taken]
    assert sound.audible(None, given[1]) is (given[1] if other else None)
    assert sound.audible(given[0], None) is given[0]


def test_the_picker_shows_the_film_in_its_own_pixels(pack, films, monkeypatch):
    panel = importlib.import_module("_pack_without_comfyui.nodes.host.panel")
    monkeypatch.setattr(panel, "viewable", lambda path: path)
    monkeypatch.setattr(panel, "temp_file", lambda content, _: len(content))
    large, small = (
        pack.picker.film_faces(pack.model, source_of(pack, films[0], limit=limit), pack.source.FaceChoice("none"))
        for limit in (0, 100)
    )
    assert (small["width"], small["height"], small["faces"], small["detects"]) == (130, 96, [], False)
    assert np.allclose(small["crop"], large["crop"], atol=2)
    (left, top), _, (right, bottom), _ = large["crop"]
    assert left < BOX[0] < BOX[2] < right
    assert top < BOX[1] < BOX[3] < bottom


@pytest.mark.parametrize("box", ["200, 0, 300, 90", "1, 2"])
def test_a_box_beside_the_film_is_refused(pack, films, box):
    with pytest.raises(Exception, match="face_box"):
        source_of(pack, films[0], box=(box,))
