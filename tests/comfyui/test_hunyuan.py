"""HunyuanPortrait in a real ComfyUI, on small random weights: licence, films, images, fp8, faces, motion, Cancel."""

import shutil

import numpy as np
import pytest

from personalive_core.backends.hunyuan.motion_files import HUNYUAN_MOTION
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, RATE, SITTER, sample_motion
from personalive_core.media.audio import has_audio
from personalive_core.media.picture import read_image, write_image
from personalive_core.media.video import probe, read_frames, read_label
from personalive_core.media.write import VideoWriter, WriteOptions
from personalive_core.motion.files import read_kind
from tests.backends.hunyuan.published import load_cases, write_hunyuan
from tests.comfyui.server import ComfyUI

pytestmark = [pytest.mark.comfyui, pytest.mark.timeout(900)]

LOADER, VIDEO, IMAGES = "PersonaLiveLoadHunyuanPortrait", "PersonaLiveHunyuanVideo", "PersonaLiveHunyuan"
EXTRACT = "PersonaLiveExtractHunyuanMotion"
SIDE = 256  # of each of two people


def people(frame):
    """Two people side by side."""
    both = (draw_portrait(person, sample_motion(frame, RATE), SIDE) for person in (SITTER, DRIVER))
    return np.concatenate(list(both), axis=1)


@pytest.fixture(scope="module")
def server(tmp_path_factory, media, checkout, synth, yunet_model):  # noqa: ARG001 - ends before the next ComfyUI's turn
    two, film = (tmp_path_factory.mktemp("two") / name for name in ("two.png", "two.mp4"))
    write_image(two, people(0))
    with VideoWriter(film, (2 * SIDE, SIDE), WriteOptions()) as writer:
        for frame in range(5):
            writer.write(people(frame))
    inputs = [media / "portrait.png", media / "spoken.mp4", two, film]
    comfyui = ComfyUI(tmp_path_factory.mktemp("hunyuan"), inputs=inputs)
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


def images_of(server, run):
    return np.stack([read_image(server.base / "output" / one["filename"]) for one in run.outputs["5"]["images"]])


def test_the_chosen_face_moves_and_the_other_stays(server):
    """Each of the two people, in their place in the picture."""
    changed = []
    for face in ("1st from left", "2nd from left"):
        nodes = workflow(server, IMAGES, count=2, face=face, driving_face="2nd from left")
        nodes["2"]["inputs"]["image"], nodes["3"]["inputs"]["file"] = "two.png", "two.mp4"
        run = server.run(nodes)
        assert not run.error, run.error
        off = abs(images_of(server, run).astype(int) - people(0)).max((0, 3))
        changed.append([off[SIDE // 2, SIDE // 2] > 4, off[SIDE // 2, SIDE + SIDE // 2] > 4])
    assert changed == [[True, False], [False, True]]
    nodes = workflow(server, IMAGES, count=2, face="3rd from left")
    nodes["2"]["inputs"]["image"] = "two.png"
    error = server.run(nodes).error
    assert error.startswith("Choose another face: the portrait shows 2 faces, and face 2 from the left"), error


def test_motion_is_read_once_saved_and_used_again(server):
    nodes = workflow(server, IMAGES)
    nodes["3"]["inputs"]["file"] = "two.mp4"
    given = {**defaults(server, EXTRACT), "model": ["1", 0], "driving": ["3", 0], "size": 64, "face": "2nd from left"}
    nodes["6"] = {"class_type": EXTRACT, "inputs": given}
    nodes["7"] = {
        "class_type": "PersonaLiveSaveMotion",
        "inputs": {"motion": ["6", 0], "filename_prefix": "motion/hunyuan"},
    }
    nodes["8"] = {"class_type": "PersonaLiveMotionPlot", "inputs": {"motion": ["6", 0]}}
    moved = {key: value for key, value in nodes["4"]["inputs"].items() if key != "driving"} | {"motion": ["6", 0]}
    nodes["4"]["inputs"] = {**moved, "count": 0}
    run = server.run(nodes)
    assert not run.error, run.error
    assert run.outputs["8"]["images"]
    fresh = images_of(server, run)
    assert len(fresh) == 5
    (path,) = (server.base / "output" / "motion").glob("hunyuan_*")
    assert read_kind(HUNYUAN_MOTION, path).motion.box[:, 0].min() > SIDE  # of the right one
    given = {"file": f"motion/{path.name} [output]", "start": 0.0, "count": 0}
    nodes["6"] = {"class_type": "PersonaLiveLoadMotion", "inputs": given}
    for key in ("3", "7", "8"):
        del nodes[key]
    assert np.array_equal(images_of(server, server.run(nodes)), fresh)
    del nodes["6"], nodes["4"]["inputs"]["motion"]
    error = server.run(nodes).error
    assert error.startswith("Connect driving, or motion from Extract Motion (HunyuanPortrait): nothing moves"), error
