"""What the page is told about a run that ended early, and what a finished one adds to a queue's count."""

import json
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from personalive_core.media.video import read_frames
from personalive_core.media.write import VideoWriter, WriteOptions

FRAME = np.full((64, 64, 3), 90, np.uint8)


class StopError(Exception):
    """Stands in for a Cancel."""


@pytest.fixture
def panels(node_module, monkeypatch, tmp_path):
    """nodes/host/panel.py, with the list of events that it sends."""
    module, sent = node_module("host.panel"), []
    server = SimpleNamespace(client_id="page", send_sync=lambda _, event, __: sent.append(event))
    monkeypatch.setattr(module, "PromptServer", SimpleNamespace(instance=server))
    monkeypatch.setattr(module, "viewable", lambda path: {"filename": path.relative_to(tmp_path).as_posix()})
    return module, sent


class Motion:
    """As much of a motion as writing its film takes."""

    rate = Fraction(25)

    def __init__(self, frames, footage):
        self.frames, self.footage = frames, footage

    def __len__(self):
        return self.frames

    def time(self, index):
        return index / self.rate

    def duration(self, _):
        return 1 / self.rate


def emitted(first, count):
    return SimpleNamespace(first=first, pictures=[FRAME] * count, novelty=1.0, keyframe=None)


def task_of(frames, footage=None):
    return SimpleNamespace(motion=Motion(frames, footage), size=64)


def stream(steps):
    """A stream of so many steps of four frames, which the user then cancels."""

    def run(*_):
        for step in range(steps):
            yield emitted(4 * step, 4), "keyframes"
        raise StopError

    return run


def test_a_cancelled_film_is_named_and_plays(panels, node_module, monkeypatch, tmp_path):
    module, sent = panels
    sampler = node_module("sample_video")
    footage = SimpleNamespace(path=tmp_path / "driving.mp4", pictures=True, start=Fraction(1, 2))
    monkeypatch.setattr(sampler, "run_stream", stream(3))
    writer = VideoWriter(tmp_path / "x.mp4", (64, 64), WriteOptions())
    with pytest.raises(StopError):
        sampler.write_frames(task_of(40, footage), module.SamplerPanel("8", 40, 0, 17.0), writer)
    event = sent[-1]
    assert (event["stopped"], event["last"], event["frame"], event["total"]) == (True, True, 12, 40)
    assert event["compare"] == {
        "result": {"filename": "x.partial.mp4"},
        "driving": {"filename": "driving.mp4", "start": 0.5},
    }
    assert len(list(read_frames(tmp_path / "x.partial.mp4"))) == 12


def test_a_run_without_a_frame_names_no_film(panels, node_module, monkeypatch, tmp_path):
    module, sent = panels
    sampler = node_module("sample_video")
    monkeypatch.setattr(sampler, "run_stream", stream(0))
    writer = VideoWriter(tmp_path / "x.mp4", (64, 64), WriteOptions())
    with pytest.raises(StopError):
        sampler.write_frames(task_of(40), module.SamplerPanel("8", 40, 0, 17.0), writer)
    assert (sent[-1]["stopped"], sent[-1]["frame"], sent[-1]["compare"]) == (True, 0, None)


@pytest.mark.parametrize(("steps", "film"), [(2, {"filename": "rescued.mp4"}), (0, None)])
def test_cancelled_images_are_named_as_the_film_they_are_kept_in(
    panels, node_module, monkeypatch, tmp_path, steps, film
):
    module, sent = panels
    sampler = node_module("sample")
    monkeypatch.setattr(sampler, "run_stream", stream(steps))
    monkeypatch.setattr(sampler, "new_output", lambda *_: tmp_path / "rescued.mp4")
    with pytest.raises(StopError):
        sampler.sample(task_of(40), module.SamplerPanel("8", 40, 0, 17.0))
    assert (sent[-1]["frame"], (sent[-1]["compare"] or {}).get("result")) == (4 * steps, film)


def test_a_film_counts_once(panels, tmp_path):
    module, _ = panels
    writer = SimpleNamespace(path=tmp_path / "film.mp4")
    panel = module.SamplerPanel("8", 8, 0, 17.0)
    shown = {**module.for_page("personalive_run", panel.end()), **module.compare_ui(writer, None)}
    assert sum(len(items) for items in shown.values()) == 1
    assert shown["video"] == [{"filename": "film.mp4"}]
    ours = dict(key.split(" ", 1) for key in shown if key != "video")
    assert json.loads(ours["personalive_run"])["total"] == 8
    assert json.loads(ours["personalive_compare"]) == {"driving": None, "result": {"filename": "film.mp4"}}
