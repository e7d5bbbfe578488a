"""MediaPipe's Face Landmarker, by its file: eyes, head and lips, and 52 blend shapes of the expression."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...metrics.felt import FACE_NUMBERS
from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from .types import Judge, OpenedJudge, PerPicture, sha256_of

BLEND_SHAPES = 52
# Of its 478 points: both irises, the lips' inner edges, the corners of the mouth.
_EYES, _INNER_LIPS, _MOUTH = (468, 473), (13, 14), (78, 308)


def open_mediapipe_points(file: Path | None) -> OpenedJudge[PerPicture]:
    """FACE_NUMBERS of each picture, [F, 4]."""
    return _opened(file, _geometry, len(FACE_NUMBERS), "Face Landmarker, 478 points")


def open_mediapipe_expression(file: Path | None) -> OpenedJudge[PerPicture]:
    """The blend shapes of each picture, [F, 52], each within 0..1."""
    return _opened(file, _shapes, BLEND_SHAPES, "Face Landmarker, 52 blend shapes")


def _opened(
    file: Path | None, part: Callable[[Any, float, float], Numbers], width: int, name: str
) -> OpenedJudge[PerPicture]:
    if file is None:
        return "needs MediaPipe's face_landmarker.task: give --mediapipe FILE"
    if importlib.util.find_spec("mediapipe") is None:
        return "needs the mediapipe package: pip install mediapipe"
    media: Any = importlib.import_module("mediapipe")
    tasks: Any = importlib.import_module("mediapipe.tasks.python")
    options = tasks.vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(file)), output_face_blendshapes=True
    )
    network = tasks.vision.FaceLandmarker.create_from_options(options)

    def read(pictures: Pictures) -> Numbers:
        rows = []
        for picture in pictures:
            found = network.detect(media.Image(image_format=media.ImageFormat.SRGB, data=np.ascontiguousarray(picture)))
            seen = bool(found.face_landmarks)
            rows.append(part(found, *picture.shape[1::-1]) if seen else np.full(width, np.nan))
        return np.stack(rows)

    return Judge(read, Origin(f"MediaPipe's {name}", file.name, sha256_of(file), "Apache-2.0"))


def _geometry(found: Any, wide: float, high: float) -> Numbers:  # noqa: ANN401
    points = np.array([(point.x * wide, point.y * high) for point in found.face_landmarks[0]])
    eyes, gap, mouth = (np.linalg.norm(points[a] - points[b]) for a, b in (_EYES, _INNER_LIPS, _MOUTH))
    return np.array([eyes, *points.mean(0), gap / mouth])


def _shapes(found: Any, _wide: float, _high: float) -> Numbers:  # noqa: ANN401
    return np.array([shape.score for shape in found.face_blendshapes[0]])
