"""dlib's faces: its detector, five points, and 128 numbers that tell people apart; all of it comes inside packages."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...media.picture import Picture
from ...metrics.felt import FACE_NUMBERS
from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from .types import Judge, OpenedJudge, PerPicture, sha256_of

# Not the package's 68 points: their licence excludes commercial use.
FIVE_POINTS, RECOGNISER = "shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"
NUMBERS = 128
SMALL_PICTURE = 400  # pixels; in smaller pictures the detector, whose faces have 80 or more, looks at twice the size
_SOURCE, _LICENCE = "dlib-bin and face-recognition-models", "Boost (dlib), CC0 (the models)"
_MISSING = "needs the dlib-bin and face-recognition-models packages: pip install dlib-bin face-recognition-models"


def open_dlib_points() -> OpenedJudge[PerPicture]:
    """Eye distance and centre of the face; five points show no lips, so that their openness is NaN."""
    folder = _models()
    if folder is None:
        return _MISSING
    find = _finder(folder)
    return Judge(lambda pictures: _rows(pictures, lambda picture: _geometry(find(picture)), len(FACE_NUMBERS)),
                 _origin("dlib's detector and five points", folder / FIVE_POINTS))  # fmt: skip


def open_dlib_identity() -> OpenedJudge[PerPicture]:
    """128 numbers of the largest face."""
    folder = _models()
    if folder is None:
        return _MISSING
    find, dlib = _finder(folder), _dlib()
    network = dlib.face_recognition_model_v1(str(folder / RECOGNISER))

    def describe(picture: Picture) -> Numbers | None:
        shape = find(picture)
        return None if shape is None else np.array(network.compute_face_descriptor(picture, shape))

    return Judge(lambda pictures: _rows(pictures, describe, NUMBERS),
                 _origin("dlib's ResNet of 128 numbers", folder / RECOGNISER))  # fmt: skip


def _models() -> Path | None:
    """The folder of the models; their package is not imported, as it asks for a module that Python no longer has."""
    if (
        importlib.util.find_spec("dlib") is None
        or (spec := importlib.util.find_spec("face_recognition_models")) is None
    ):
        return None
    folder = Path(str(spec.origin)).parent / "models"
    return folder if (folder / FIVE_POINTS).is_file() and (folder / RECOGNISER).is_file() else None


def _dlib() -> Any:  # noqa: ANN401 - it has no types
    return importlib.import_module("dlib")


def _finder(folder: Path) -> Callable[[Picture], Any]:
    dlib = _dlib()
    detector, predictor = dlib.get_frontal_face_detector(), dlib.shape_predictor(str(folder / FIVE_POINTS))

    def find(picture: Picture) -> Any:  # noqa: ANN401
        faces = detector(picture, int(min(picture.shape[:2]) < SMALL_PICTURE))
        return predictor(picture, max(faces, key=lambda face: face.area())) if len(faces) else None

    return find


def _geometry(shape: Any) -> Numbers | None:  # noqa: ANN401
    """Of two corners of each eye and the base of the nose."""
    if shape is None:
        return None
    points = np.array([(point.x, point.y) for point in shape.parts()], np.float64)
    eyes = points[[0, 2]] / 2 + points[[1, 3]] / 2
    return np.array([np.linalg.norm(eyes[0] - eyes[1]), *points.mean(0), np.nan])


def _rows(pictures: Pictures, of_one: Callable[[Picture], Numbers | None], width: int) -> Numbers:
    found = (of_one(np.ascontiguousarray(picture)) for picture in pictures)
    return np.stack([np.full(width, np.nan) if row is None else row for row in found])


def _origin(network: str, file: Path) -> Origin:
    return Origin(network, f"{_SOURCE} ({file.name})", sha256_of(file), _LICENCE)
