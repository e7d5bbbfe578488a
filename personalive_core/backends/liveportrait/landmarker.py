"""The network of 203 landmarks, run by onnxruntime where it is installed, else by OpenCV."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import WeightsError
from ...media.picture import Picture
from ..onnx import OnnxRun, open_onnx
from .files import landmark_file
from .landmarks import REFINED_LANDMARKS, Floats32, refined_input, refined_points


@dataclass(frozen=True, eq=False)
class LiveLandmarker:
    """Finds 203 landmarks around landmarks that are roughly known."""

    used: str  # one of onnx.RUNNERS
    path: Path
    run: OnnxRun  # input [1, 3, 224, 224] in [0, 1] -> the network's outputs, in any order

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
    used, run = open_onnx(path, "the landmark network")
    return LiveLandmarker(used, path, run)
