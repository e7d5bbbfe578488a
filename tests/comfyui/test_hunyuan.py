"""HunyuanPortrait in a real ComfyUI, on small random weights: its licence, a film, images, fp8, Cancel."""

import shutil

import pytest

from personalive_core.media.audio import has_audio
from personalive_core.media.video import probe, read_frames, read_label
from tests.backends.hunyuan.published import load_cases, write_hunyuan
from tests.comfyui.server import ComfyUI

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(900)]

LOADER, VIDEO, IMAGES = "PersonaLiveLoadHunyuanPortrait", "PersonaLiveHunyuanVideo", "PersonaLiveHunyuan"


@pytest.fixture(scope="module")
def server(tmp_path_factory, media, checkout, synth, yunet_model):  # noqa: ARG001 - ends before the next ComfyUI's turn
    comfyui = ComfyUI(tmp_path_factory.mktemp("hunyuan"), inputs=[media / "portrait.png", media / "spoken.mp4"])
    models = comfyui.base / "models"
    write_hunyuan(models / "hunyuanportrait", load_cases(synth))
    shutil.copy(yunet_model, models / "personalive")
    with comfyui:
        yield comfyui


def defaults(server, kind):
    """A node's widgets as the page fills them."""
    wanted = server.get("/object_info")[kind]["input"]["required"]
    return {name: spec[1]["default"] for name, spec in wanted.items() if len(spec) > 1 and "default" in spec[1]}


def workflow(server, kind=VIDEO, loader=None, **inputs):
    """Loader, picture, film and the sampler as node 4."""
    given = {**defaults(server, LOADER), "weights": "hunyuanportrait", "accept_licence": True, **(loader or {})}
    small = {"steps": 2, "size": 64, "count": 5, "model": ["1", 0], "image": ["2", 0], "driving": ["3", 0]}
    nodes = {
        "1": {"class_type": LOADER, "inputs": given},
        "2": {"class_type": "LoadImage", "inputs": {"image": "portrait.png"}},
        "3": {"class_type": "LoadVideo", "inputs": {"file": "spoken.mp4"}},
        "4": {"class_type": kind, "inputs": {**defaults(server, kind), "missing_face": "hold", **small, **inputs}},
    }
    if kind == IMAGES:
        nodes["5"] = {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "filename_prefix": "hunyuan"}}
    return nodes


def film(server, run):
    (made,) = run.outputs["4"]["video"]
    return server.base / made["type"] / made["subfolder"] / made["filename"]


def test_nothing_loads_without_the_licence(server):
    run = server.run(workflow(server, loader={"accept_licence": False}))
    assert "Accept the licence" in run.error
    assert "academic, research and education purposes only: never for commercial use" in run.error
    assert defaults(server, LOADER)["accept_licence"] is False
    assert not run.executed


def test_a_film_with_sound_previews_and_label(server):
    run = server.run(workflow(server))
    assert not run.error
    path = film(server, run)
    pictures = [frame.image for frame in read_frames(path)]
    assert len(pictures) == 5
    assert has_audio(path)
    assert probe(path).rate == 25
    label = read_label(path)
    assert (label["system"], label["steps"], label["paste"]) == ("hunyuan", "2", "matched")
    assert run.previews
    assert max(most for node, _, most in run.progress if node == "4") == 5


def test_images_and_fp8(server):
    run = server.run(workflow(server, IMAGES, {"precision": "fp8"}, paste_back=False, count=2, segment=2))
    assert not run.error
    assert len(run.outputs["5"]["images"]) == 2


def test_cancel_keeps_the_segments_that_are_there(server):
    stopped = []

    def watch(run):
        if not stopped and run.previews >= 6:  # two for each segment
            stopped.append(server.post("/interrupt", {}))

    run = server.run(workflow(server, count=0, segment=4, filename_prefix="video/cancelled"), watch=watch)
    assert run.interrupted
    (partial,) = (server.base / "output" / "video").glob("*cancelled*")
    assert 0 < len(list(read_frames(partial))) < 50
