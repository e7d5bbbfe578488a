"""Face detectors with one interface: OpenCV's YuNet and Haar cascade, and insightface if the user installed it."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from ..errors import InputError, WeightsError
from ..media.picture import Picture
from .crop import Box, Face, FaceDetector, check_picture

DETECTORS = ("auto", "yunet", "haar", "insightface", "none")  # names the user can choose from
_log = logging.getLogger(__name__)

# Pixels of YuNet's shortest side. Sides of 32 or less, one cell of its coarsest map, make OpenCV 4.14 read memory that
# was never written: it finds faces of any size, in grey pictures too.
_NARROWEST = 33
# Both ways to YuNet's file that a user has, for messages.
_SOURCES = "`personalive download --only detector`, or download_if_missing in Load PersonaLive"
_LOG_LEVEL = Lock()  # held while OpenCV's log level, one for the whole process, is not its own
_LONGEST = 640  # pictures are shrunk to this longer side in pixels for detection: enough for any face worth animating


class YuNetDetector:
    """OpenCV's YuNet (Wu et al., Machine Intelligence Research 2023), a 230 kB network; scores are in [0, 1].

    The file is face_detection_yunet_2026may.onnx, or the older 2023mar, which some builds of OpenCV 5 cannot use.
    Threads may share it: it looks at one picture at a time. Raises WeightsError, also when it is called, for a file
    that is missing or that this OpenCV cannot use; InputError without OpenCV.
    """

    def __init__(self, model_path: Path, threshold: float = 0.7) -> None:
        self._cv2, self._path, self._turn = _import_cv2(), model_path, Lock()
        if not model_path.is_file():
            raise WeightsError(f"the YuNet face detector's file is missing at {model_path}: download it ({_SOURCES})")
        with self._used(), quiet(self._cv2):
            self._network = self._cv2.FaceDetectorYN.create(str(model_path), "", (_LONGEST, _LONGEST), threshold)

    def __call__(self, image: Picture) -> tuple[Face, ...]:
        small, scale = _shrink(image)
        seen = _widened(_bgr(small))
        with self._turn, self._used():
            self._network.setInputSize((seen.shape[1], seen.shape[0]))
            _, found = self._network.detect(seen)
        rows = [] if found is None else found  # [faces, 15]: x, y, width, height, ten landmark coordinates, score
        return tuple(Face(_box(row[:4], scale), float(row[-1]), _points(row[4:14], scale)) for row in rows)

    @contextmanager
    def _used(self) -> Iterator[None]:
        """OpenCV's errors inside the block become a WeightsError."""
        try:
            yield
        except self._cv2.error as error:
            raise WeightsError(
                f"OpenCV {self._cv2.__version__} cannot use {self._path} as the YuNet face detector: delete it, then "
                f"download it again ({_SOURCES})"
            ) from error


class HaarDetector:
    """OpenCV 4's cascade for upright frontal faces (Viola and Jones, 2001): no download; scores are unbounded.

    Threads may share it: it looks at one picture at a time. Raises InputError without OpenCV, and with OpenCV 5 or
    later, which has no cascades.
    """

    def __init__(self) -> None:
        cv2 = _import_cv2()
        if not hasattr(cv2, "CascadeClassifier"):
            raise InputError(
                f"the haar detector needs OpenCV 4, and this is OpenCV {cv2.__version__}: choose the yunet detector"
            )
        self._cv2, self._turn = cv2, Lock()
        self._cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def __call__(self, image: Picture) -> tuple[Face, ...]:
        small, scale = _shrink(image)
        grey = self._cv2.cvtColor(small, self._cv2.COLOR_RGB2GRAY)
        with self._turn:
            boxes, _, scores = self._cascade.detectMultiScale3(grey, 1.1, 5, outputRejectLevels=True)
        return tuple(Face(_box(box, scale), float(score)) for box, score in zip(boxes, scores, strict=True))


class InsightFaceDetector:
    """insightface's SCRFD (Guo et al., ICLR 2022), an optional package that downloads its own model.

    Raises InputError if the package is not installed.
    """

    def __init__(self) -> None:
        try:
            app = importlib.import_module("insightface.app")
        except ImportError as error:
            raise InputError(
                "the insightface detector needs the insightface and onnxruntime packages: install both with pip, "
                "or choose the yunet detector"
            ) from error
        _log.warning("insightface's models are licensed for non-commercial research only; yunet has no such limit")
        self._analysis = app.FaceAnalysis(name="buffalo_l", allowed_modules=["detection"])
        self._analysis.prepare(ctx_id=0, det_size=(_LONGEST, _LONGEST))

    def __call__(self, image: Picture) -> tuple[Face, ...]:
        check_picture(image)
        found = self._analysis.get(_bgr(image))
        return tuple(
            Face(
                Box(*(float(edge) for edge in face.bbox)),
                float(face.det_score),
                None if getattr(face, "kps", None) is None else _points(face.kps, 1.0),
            )
            for face in found
        )


def detector_for(name: str, picture: Picture, yunet: Callable[[], Path]) -> FaceDetector | None:
    """The detector called `name` for pictures shaped like `picture` [H, W, 3]; None: use the picture without detection.

    "auto" means "none" for a square picture and YuNet for any other. Logs which detector it is. Raises as
    `make_detector` does.
    """
    used = used_detector(name, picture)
    if used == "none":
        return None
    detector = make_detector(used, yunet)
    _log.info("PersonaLive finds faces with %s", used)
    return detector


def used_detector(name: str, picture: Picture) -> str:
    """The name of the detector that the choice `name` means for pictures shaped like `picture` [H, W, 3]."""
    if name != "auto":
        return name
    return "none" if picture.shape[0] == picture.shape[1] else "yunet"


def helpful_detector(name: str, yunet: Callable[[], Path]) -> FaceDetector | None:
    """The detector called `name` where faces are only an offer; None: no faces are offered.

    "auto" is YuNet, else Haar, else None: whichever can be used. Otherwise raises as `make_detector` does.
    """
    if name == "auto":
        for offered in ("yunet", "haar"):
            with suppress(InputError, WeightsError):
                return make_detector(offered, yunet)
    return None if name in ("auto", "none") else make_detector(name, yunet)


def make_detector(name: str, yunet: Callable[[], Path]) -> FaceDetector:
    """The detector called `name`; "auto" is YuNet. `yunet` returns the path of YuNet's file, or raises WeightsError.

    Raises InputError for an unknown name or a missing package, WeightsError for a missing model file.
    """
    if name in ("auto", "yunet"):
        return YuNetDetector(yunet())
    if name == "haar":
        return HaarDetector()
    if name == "insightface":
        return InsightFaceDetector()
    raise InputError(f"a face detector is one of {', '.join(DETECTORS)}, got {name!r}: use one of these")


@contextmanager
def quiet(cv2: Any) -> Iterator[None]:  # noqa: ANN401
    """OpenCV prints nothing: version 5 warns that it sets no target for any network, and errors are raised besides."""
    log = getattr(cv2.utils, "logging", None)
    if log is None:  # OpenCV 4.8, which does not warn
        yield
        return
    with _LOG_LEVEL:
        level = log.getLogLevel()
        log.setLogLevel(log.LOG_LEVEL_SILENT)
        try:
            yield
        finally:
            log.setLogLevel(level)


def _import_cv2() -> Any:  # noqa: ANN401 - its stubs differ between OpenCV 4 and 5, and both must pass
    try:
        module: ModuleType = importlib.import_module("cv2")
    except ImportError as error:
        raise InputError("finding faces needs OpenCV: install it with `pip install opencv-python`") from error
    return module


def _shrink(image: Picture) -> tuple[Picture, float]:
    """The picture with a longer side of at most `_LONGEST`, and the scale: original pixels per pixel of the result."""
    check_picture(image)
    height, width = image.shape[:2]
    scale = max(height, width) / _LONGEST
    if scale <= 1:
        return image, 1.0
    cv2 = _import_cv2()
    size = (max(1, round(width / scale)), max(1, round(height / scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA), scale


def _widened(image: Picture) -> Picture:
    """The picture with black on the right and below, so that no side is shorter than `_NARROWEST`."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, max(_NARROWEST - height, 0)), (0, max(_NARROWEST - width, 0)), (0, 0)))


def _bgr(image: Picture) -> Picture:
    return np.ascontiguousarray(image[:, :, ::-1])


def _box(corner_and_size: Any, scale: float) -> Box:  # noqa: ANN401
    left, top, width, height = (float(number) * scale for number in corner_and_size)
    return Box(left, top, left + width, top + height)


def _points(numbers: Any, scale: float) -> tuple[tuple[float, float], ...] | None:  # noqa: ANN401
    """Five points in pixels of the original; None where all lie in one place, and so say nothing."""
    found = scale * np.asarray(numbers, np.float64).reshape(-1, 2)
    return tuple((float(x), float(y)) for x, y in found) if np.ptp(found, axis=0).any() else None
