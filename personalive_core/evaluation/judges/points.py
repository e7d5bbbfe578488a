"""What finds eyes, head and lips: networks of drawn people, YuNet with LivePortrait, dlib, MediaPipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...backends.liveportrait.landmarker import LiveLandmarker, open_landmarker
from ...backends.liveportrait.landmarks import lip_openness
from ...backends.personalive.files import FILES
from ...drawn.landmarker import LANDMARKER, find_landmarks, load_landmarker
from ...drawn.truth import LANDMARKS
from ...errors import InputError
from ...faces.crop import FaceDetector, choose_face
from ...faces.detectors import YuNetDetector
from ...media.picture import Picture
from ...metrics.felt import FACE_NUMBERS
from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from ...weights.index import locate
from .dlib_faces import open_dlib_points
from .mediapipe_faces import open_mediapipe_points
from .types import POINTS, Judge, JudgeOptions, OpenedJudge, PerPicture, sha256_of

_TOUCH = 1e-6


def open_points(options: JudgeOptions) -> OpenedJudge[PerPicture]:
    """FACE_NUMBERS of each picture's largest face, [F, 4]. Raises InputError for a name that is not of POINTS.

    "auto" is the first that is there of MediaPipe (by file), YuNet (by file) and dlib.
    """
    openers: dict[str, Callable[[], OpenedJudge[PerPicture]]] = {
        "none": lambda: "--points none was chosen",
        "drawn": _open_drawn,
        "yunet": lambda: _open_yunet(options),
        "dlib": open_dlib_points,
        "mediapipe": lambda: open_mediapipe_points(options.mediapipe),
    }
    if options.points in openers:
        return openers[options.points]()
    if options.points != "auto":
        raise InputError(f"points are found by one of {', '.join(POINTS)}, got {options.points!r}: use one of these")
    found = [openers[name]() for name in ("mediapipe", "yunet", "dlib")]
    judges = [each for each in found if isinstance(each, Judge)]
    return judges[0] if judges else f"nothing that finds a face is there: {found[-1]}; or give --yunet FILE"


def yunet_of(options: JudgeOptions) -> Path | None:
    """YuNet's file: the one that was given, or that of the weights folder."""
    if options.yunet or not options.weights or not options.weights.is_dir():
        return options.yunet
    index = locate(options.weights, FILES)
    return None if index.missing(("yunet",)) else index.path("yunet")


def yunet_origin(path: Path) -> Origin:
    """Where YuNet's figures come from."""
    return Origin("YuNet", path.name, sha256_of(path), "MIT")


def _open_drawn() -> Judge[PerPicture]:
    network = load_landmarker()

    def read(pictures: Pictures) -> Numbers:
        if pictures.shape[1] != pictures.shape[2]:
            raise InputError(
                f"drawn people's landmarks are found in square pictures, got {pictures.shape[2]}x{pictures.shape[1]}: "
                "give --size, or choose other --points"
            )
        return drawn_geometry(find_landmarks(network, pictures).double().numpy() * pictures.shape[1] / 2)

    origin = Origin("31 landmarks of drawn people", f"inside this package ({LANDMARKER.name})")
    return Judge(read, replace(origin, sha256=sha256_of(LANDMARKER), licence="Apache-2.0"))


def drawn_geometry(points: Numbers) -> Numbers:
    """FACE_NUMBERS [F, 4] of drawn people's landmarks [F, 31, 2] in pixels."""

    def at(name: str) -> Numbers:
        return np.asarray(points[:, LANDMARKS.index(name)])

    eyes = np.linalg.norm(at("left eye pupil") - at("right eye pupil"), axis=-1)
    wide = np.linalg.norm(at("left mouth corner") - at("right mouth corner"), axis=-1)
    gap = np.linalg.norm(at("upper lip under") - at("lower lip over"), axis=-1)
    return np.stack([eyes, *points.mean(1).T, gap / np.maximum(wide, _TOUCH)], 1)


def _open_yunet(options: JudgeOptions) -> OpenedJudge[PerPicture]:
    path = yunet_of(options)
    if path is None:
        return "needs YuNet's file: give --yunet FILE, or --weights of a folder that holds it"
    lips = open_landmarker(options.weights)
    detector, origin = YuNetDetector(path), yunet_origin(path)
    if lips is not None:
        origin = Origin(
            "YuNet and LivePortrait's 203 landmarks",
            f"{path.name}, {lips.path.name}",
            f"{origin.sha256}, {sha256_of(lips.path)}",
            "MIT; the landmarks' origin is not stated",
        )
    return Judge(lambda pictures: np.stack([_seen(detector, lips, picture) for picture in pictures]), origin)


def _seen(detector: FaceDetector, lips: LiveLandmarker | None, picture: Picture) -> Numbers:
    face = choose_face(detector(picture), "largest", None)
    if face is None or face.points is None:
        return np.full(len(FACE_NUMBERS), np.nan)
    points = np.array(face.points)
    openness = np.nan if lips is None else float(lip_openness(lips(picture, points.astype(np.float32)))[0])
    return np.array([np.linalg.norm(points[0] - points[1]), *points.mean(0), openness])
