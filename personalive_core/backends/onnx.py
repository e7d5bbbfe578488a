"""Runs a network stored as ONNX: by onnxruntime where it is installed, else by OpenCV."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import WeightsError
from ..faces.detectors import quiet

RUNNERS = ("onnxruntime", "opencv")
OnnxRun = Callable[
    [NDArray[np.float32]], Sequence[NDArray[np.floating]]
]  # input -> the network's outputs, in any order


def open_onnx(path: Path, what: str) -> tuple[str, OnnxRun]:
    """One of RUNNERS, and the network of one input in the file `path`; messages call it `what`.

    Raises WeightsError for a file that cannot be used, also when the network is called.
    """
    if importlib.util.find_spec(RUNNERS[0]):
        return RUNNERS[0], _by_onnxruntime(path, what)
    return RUNNERS[1], _by_opencv(path, what)


def _by_onnxruntime(path: Path, what: str) -> OnnxRun:
    runtime: Any = importlib.import_module("onnxruntime")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise _unreadable(path, RUNNERS[0], what) from error
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})


def _by_opencv(path: Path, what: str) -> OnnxRun:
    cv2: Any = importlib.import_module("cv2")
    try:
        with quiet(cv2):
            network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise _unreadable(path, f"OpenCV {cv2.__version__}", what) from error

    def run(inputs: NDArray[np.float32]) -> Sequence[NDArray[np.floating]]:
        try:
            with quiet(cv2):
                network.setInput(inputs)
                answers: Sequence[NDArray[np.floating]] = network.forward(network.getUnconnectedOutLayersNames())
        except cv2.error as error:
            raise _unreadable(path, f"OpenCV {cv2.__version__}", what) from error
        return answers

    return run


def _unreadable(path: Path, reader: str, what: str) -> WeightsError:
    return WeightsError(f"{reader} cannot use {path} as {what}: delete it, then get it again from its publisher")
