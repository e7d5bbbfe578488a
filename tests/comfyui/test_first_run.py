"""A first run without weights: downloaded from an imitation of the hub, cancelled, gone on with, never repeated."""

import threading

import pytest

from personalive_core.backends.personalive.files import FILES
from personalive_core.media.video import read_frames
from tests.comfyui.server import ComfyUI
from tests.comfyui.test_nodes import change, first_line, key_of, made, small
from tests.weights.test_download import Hub

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(300)]


@pytest.fixture
def hub(standin_folder):
    """Serves the stand-in's files as the hub does the published ones."""
    server = Hub()
    server.files = {f: (standin_folder / f.place).read_bytes() for f in FILES if (standin_folder / f.place).is_file()}
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def empty(tmp_path, hub, media):
    """A ComfyUI that has no weights folder yet."""
    environment = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0"}
    comfyui = ComfyUI(tmp_path, inputs=[media / "portrait.png", media / "driving.mp4"], environment=environment)
    (comfyui.base / "models" / "personalive").rmdir()
    with comfyui as server:
        yield server


def test_weights_come_on_the_first_run(empty, hub):
    workflow = change(small("long_video", count=4), "LoadPersonaLive", download_if_missing=True)
    loader = key_of(workflow, "LoadPersonaLive")
    asked = []

    def cancel(run):
        if not asked and any(node == loader for node, *_ in run.progress):
            asked.append(True)
            empty.post("/interrupt", {})

    assert empty.run(workflow, watch=cancel).interrupted
    run = empty.run(workflow)
    assert not run.error
    assert len(list(read_frames(made(empty, run)[0]))) == 4
    wanted = {file.path for file in hub.files if file.network != "base_unet"}
    fetched = {path.split("/resolve/")[1].split("/", 1)[1] for _, path, *_ in hub.gets()}
    assert fetched == wanted
    requests = len(hub.seen)
    sampler = "PersonaLiveStreamingSamplerVideo"
    again = empty.run(change(workflow, sampler, seed=3))
    assert again.executed == [key_of(workflow, sampler)], "the weights that came are no reason to load"
    assert len(hub.seen) == requests


def test_without_leave_nothing_is_downloaded(empty, hub):
    run = empty.run(small("long_video", count=4))
    assert "turn on download_if_missing" in first_line(run).lower()
    assert not hub.seen
