"""The network of 203 landmarks, run by onnxruntime where it is installed, else by OpenCV."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import WeightsError
from ...faces.detectors import quiet
from ...media.picture import Picture
from .files import landmark_file
from .landmarks import REFINED_LANDMARKS, Floats32, refined_input, refined_points

RUNNERS = ("onnxruntime", "opencv")
_Run = Callable[[Floats32], Sequence[NDArray[np.floating]]]


@dataclass(frozen=True, eq=False)
class LiveLandmarker:
    """Finds 203 landmarks around landmarks that are roughly known."""

    used: str  # one of RUNNERS
    path: Path
    run: _Run  # input [1, 3, 224, 224] in [0, 1] -> the network's outputs, in any order

    def __call__(self, picture: Picture, points: NDArray[np.floating]) -> Floats32:
        """Landmarks [203, 2] in a `picture` [H, W, 3]; `points` [N, 2] are landmarks of any known layout in it.

        Raises InputError for another layout, WeightsError for a file that is not this network.
        """
        inputs, matrix = refined_input(picture, points)
        answers = [answer for answer in self.run(inputs) if answer.size == 2 * REFINED_LANDMARKS]
        if len(answers) != 1 or not np.isfinite(answers[0]).all():
            raise WeightsError(
                f"{self.path} gives {len(answers)} outputs of {2 * REFINED_LANDMARKS} numbers, expected one, without "
                "NaN: put LivePortrait's landmark.onnx there"
            )
        return refined_points(answers[0], matrix)


def open_landmarker(folder: Path | None) -> LiveLandmarker | None:
    """The landmark network of a weights `folder`; None without a folder, or if the folder has none.

    Raises WeightsError for a file that cannot be read.
    """
    path = landmark_file(folder) if folder else None
    if path is None:
        return None
    used = RUNNERS[0] if importlib.util.find_spec(RUNNERS[0]) else RUNNERS[1]
    return LiveLandmarker(used, path, _by_onnxruntime(path) if used == RUNNERS[0] else _by_opencv(path))


def _by_onnxruntime(path: Path) -> _Run:
    runtime: Any = importlib.import_module("onnxruntime")
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base class of their own
        raise _unreadable(path, RUNNERS[0]) from error
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})


def _by_opencv(path: Path) -> _Run:
    cv2: Any = importlib.import_module("cv2")
    try:
        with quiet(cv2):
            network = cv2.dnn.readNetFromONNX(str(path))
    except cv2.error as error:
        raise _unreadable(path, f"OpenCV {cv2.__version__}") from error

    def run(inputs: Floats32) -> Sequence[NDArray[np.floating]]:
        try:
            with quiet(cv2):
                network.setInput(inputs)
                answers: Sequence[NDArray[np.floating]] = network.forward(network.getUnconnectedOutLayersNames())
        except cv2.error as error:
            raise _unreadable(path, f"OpenCV {cv2.__version__}") from error
        return answers

    return run


def _unreadable(path: Path, reader: str) -> WeightsError:
    return WeightsError(f"{reader} cannot use {path} as the landmark network: delete it, then download it again")
