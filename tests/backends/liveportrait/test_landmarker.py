"""The landmark network behind one function: which library runs it, and that both give the same."""

import importlib.util
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from personalive_core.backends.liveportrait.landmarker import open_landmarker
from personalive_core.backends.liveportrait.landmarks import refined_input, refined_points
from personalive_core.backends.onnx import RUNNERS
from personalive_core.errors import InputError, WeightsError
from tests.backends.liveportrait.onnx_file import landmark_onnx


@pytest.fixture
def face(live_cases):
    """203 points in parts of the network's picture."""
    return (0.5 + 0.3 * live_cases.unit_face(203, 0.3, 0.2)).astype(np.float32)


@pytest.fixture
def folder(tmp_path, face):
    (tmp_path / "liveportrait").mkdir()
    (tmp_path / "liveportrait" / "landmark.onnx").write_bytes(landmark_onnx(face))
    return tmp_path


def expected(picture, points, face):
    inputs, matrix = refined_input(picture, points)
    moved = face + np.array([inputs[0, 0].mean(), 0])
    return refined_points(moved.reshape(1, -1), matrix)


def test_opencv_runs_it(folder, face, live_cases, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    picture, points = live_cases.pictures("lp.source", 1)[0], live_cases.landmarks("lp.source", 106)
    found = open_landmarker(folder)
    assert found.used == "opencv"
    for given in (points, live_cases.landmarks("lp.source", 5)):
        assert np.abs(found(picture, given) - expected(picture, given, face)).max() < 1e-2


def test_onnxruntime_runs_it_where_it_is_installed(folder, face, live_cases, monkeypatch):
    seen = []

    class InferenceSession:
        def __init__(self, path, providers):
            seen.append((path, providers))

        def get_inputs(self):
            return [SimpleNamespace(name="input")]

        def run(self, outputs, inputs):
            assert outputs is None
            level = inputs["input"][0, 0].mean()
            return [np.zeros((1, 214)), np.zeros((1, 262)), (face + np.array([level, 0])).reshape(1, 406)]

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "onnxruntime", SimpleNamespace(InferenceSession=InferenceSession))
    picture, points = live_cases.pictures("lp.source", 1)[0], live_cases.landmarks("lp.source", 106)
    found = open_landmarker(folder)
    assert found.used == "onnxruntime"
    assert seen == [(str(found.path), ["CPUExecutionProvider"])]
    assert np.abs(found(picture, points) - expected(picture, points, face)).max() < 1e-2


def test_without_the_file_there_is_none(tmp_path):
    assert open_landmarker(tmp_path) is None
    assert open_landmarker(None) is None


def test_another_file_is_refused(folder, face, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    path = folder / "liveportrait" / "landmark.onnx"
    path.write_bytes(landmark_onnx(face, (214, 262)))
    points = np.array([[40, 40], [60, 40], [50, 50], [42, 60], [58, 60]], np.float32)
    with pytest.raises(WeightsError, match="gives 0 outputs of 406 numbers, expected one"):
        open_landmarker(folder)(np.zeros((99, 99, 3), np.uint8), points)
    path.write_bytes(b"not ONNX")
    with pytest.raises(WeightsError, match="cannot use .*landmark.onnx as the landmark network: delete it"):
        open_landmarker(folder)


def test_unknown_layouts_are_refused(folder):
    with pytest.raises(InputError, match="faces are cropped by"):
        open_landmarker(folder)(np.zeros((99, 99, 3), np.uint8), np.zeros((7, 2), np.float32))


def test_the_runners_are_the_ones_it_names():
    assert RUNNERS == ("onnxruntime", "opencv")
