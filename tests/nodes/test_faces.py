"""YuNet in the nodes: downloaded first, asked for where it is needed, and never where a picture is square."""

import shutil
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from personalive_core.drawn.canvas import FaceMotion
from personalive_core.drawn.person import draw_portrait
from personalive_core.drawn.sample import DRIVER, SITTER

SQUARE = draw_portrait(SITTER, FaceMotion(), 128)
WIDE = np.concatenate([SQUARE, draw_portrait(DRIVER, FaceMotion(), 128)], 1)
PLACE = "face_detection_yunet/face_detection_yunet_2026may.onnx"


@pytest.fixture
def faces(node_module):
    """nodes/host/faces.py; no node has lacked YuNet yet."""
    module = node_module("host.faces")
    module.LACKED.clear()
    return module


@pytest.fixture
def load(node_module, faces):  # noqa: ARG001 - it clears what load reads
    return node_module("load")


@pytest.fixture
def weights(tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    return folder


@pytest.fixture
def look(faces, weights, tmp_path, monkeypatch):
    """What the page gets for a picture and a detector."""
    monkeypatch.setattr(faces, "weight_folders", lambda: {"personalive": weights})
    monkeypatch.setattr(faces, "viewed", lambda name, *_: tmp_path / name)

    def ask(picture, detector="auto"):
        Image.fromarray(picture).save(tmp_path / "picture.png")
        return faces.look({"filename": "picture.png", "detector": detector})

    return ask


def put_yunet(weights, model):
    (weights / PLACE).parent.mkdir()
    shutil.copy(model, weights / PLACE)


@pytest.fixture
def no_haar(monkeypatch):
    monkeypatch.delattr(cv2, "CascadeClassifier", raising=False)


@pytest.mark.usefixtures("no_haar")
@pytest.mark.parametrize("picture", [SQUARE, WIDE], ids=["square", "wide"])
def test_the_picker_is_empty_and_silent_without_any_detector(look, picture, faces):
    height, width = picture.shape[:2]
    assert look(picture) == {"width": width, "height": height, "faces": [], "detects": width != height}
    assert not faces.LACKED


def test_the_picker_uses_haar_where_it_is_there(look, haar):  # noqa: ARG001
    assert len(look(draw_portrait(SITTER, FaceMotion(), 512))["faces"]) == 1


@pytest.mark.usefixtures("no_haar")
def test_the_picker_shows_the_faces_that_yunet_finds(look, weights, yunet_model):
    put_yunet(weights, yunet_model)
    (one,), (left, right) = look(SQUARE)["faces"], look(WIDE)["faces"]
    assert 20 < one[0] < one[2] < 108
    assert left[2] < 128 < right[0]
    assert look(SQUARE, "none")["faces"] == []


@pytest.mark.usefixtures("no_haar")
@pytest.mark.parametrize(
    ("detector", "message"),
    [("haar", "needs OpenCV 4, .*: choose the yunet detector$"), ("yunet", "turn on download_if_missing in Load")],
)
def test_a_detector_that_was_chosen_says_what_it_lacks(look, faces, detector, message):
    with pytest.raises(faces.PersonaLiveError, match=message):
        look(SQUARE, detector)


@pytest.mark.usefixtures("no_haar")
def test_a_wide_picture_without_yunet_names_the_one_switch(faces, weights):
    with pytest.raises(faces.WeightsError) as caught:
        faces.look_for(WIDE, "auto", weights)
    text = faces.remedy_first(str(caught.value))
    assert text.startswith("Turn on download_if_missing in Load PersonaLive and run again, or give face_box ")
    assert text.endswith(": finding the face needs YuNet, which is not downloaded.")
    assert "haar" not in text
    assert faces.look_for(SQUARE, "auto", weights) is None
    assert {weights: 1} == faces.LACKED


def test_a_node_that_goes_on_without_yunet_notes_that_once(faces, weights):
    for _ in range(3):
        with pytest.raises(faces.WeightsError):
            faces.yunet_if_there(weights)
    assert {weights: 1} == faces.LACKED


# --- Load PersonaLive


def test_yunet_comes_first_and_alone(load, weights, monkeypatch):
    fetched = []
    monkeypatch.setattr(load, "fetch", lambda _, files, _node: fetched.append([file.network for file in files]))
    load.download_missing(weights, ("pose_guider", "vae"), True)
    assert fetched == [["yunet"], ["pose_guider", "vae", "vae"]]


@pytest.mark.parametrize("error", ["WeightsError", "OutputError"])
def test_a_model_loads_without_yunet(load, weights, monkeypatch, caplog, error):
    def fetch(_, files, node):  # noqa: ARG001
        if files[0].network == "yunet":
            raise getattr(load, error)("no connection: try again")

    monkeypatch.setattr(load, "fetch", fetch)
    load.download_missing(weights, ("pose_guider",), True)
    (text,) = caplog.messages
    assert "no YuNet, the face detector for pictures that are not square: no connection" in text


def test_nothing_is_fetched_unless_allowed(load, weights, monkeypatch):
    monkeypatch.setattr(load, "fetch", lambda *_: pytest.fail("fetched"))
    load.download_missing(weights, (), False)
    with pytest.raises(load.WeightsError, match="turn on download_if_missing"):
        load.download_missing(weights, ("pose_guider",), False)


def test_load_runs_again_after_a_node_lacked_yunet(load, faces, weights, monkeypatch):
    monkeypatch.setattr(load, "weight_folders", lambda: {"personalive": weights})

    def mark(allowed=True):
        return load.LoadPersonaLive.fingerprint_inputs(weights="personalive", download_if_missing=allowed)

    before = mark()
    with pytest.raises(faces.WeightsError):
        faces.look_for(WIDE, "auto", weights)
    after = mark()
    assert before != after == mark()
    assert mark(allowed=False) == before


# --- the readers of a driving


@pytest.mark.parametrize("node", ["extract.ExtractHybridMotion", "liveportrait_motion.ExtractImplicitMotion"])
def test_a_box_outside_the_driving_is_refused(node_module, weights, node):
    """As in the nodes of the portrait: it is that of another film, or of a larger copy. The corner was read for it."""
    module, name = node.split(".")
    model, film = SimpleNamespace(weights=weights, subject="animal"), torch.zeros(2, 64, 96, 3)
    more = {"smoothing": 0} if module == "extract" else {}
    with pytest.raises(Exception, match="[Cc]hoose a face in it, or clear it: face_box lies outside the 96x64 picture"):
        getattr(node_module(module), name).execute(
            model, film, "none", "largest", "200, 200, 300, 300", "hold", start=0, count=0, frame_rate=0, **more
        )
