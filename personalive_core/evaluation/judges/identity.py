"""What tells people apart besides dlib: OpenCV's SFace, by its file, and insightface's ArcFace, if it is asked for."""

from __future__ import annotations

import importlib
import importlib.util
import logging
from typing import Any

import numpy as np

from ...errors import WeightsError
from ...faces.crop import choose_face
from ...faces.detectors import YuNetDetector
from ...media.picture import Picture
from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from .points import yunet_of
from .types import Judge, JudgeOptions, OpenedJudge, PerPicture, sha256_of

SFACE_NUMBERS, ARCFACE_NUMBERS = 128, 512
_PACK = "buffalo_l"

_log = logging.getLogger(__name__)


def open_sface(options: JudgeOptions) -> OpenedJudge[PerPicture]:
    """128 numbers of the largest face, found by YuNet. Raises WeightsError for a file that OpenCV cannot use."""
    yunet = yunet_of(options)
    if options.sface is None:
        return "needs OpenCV's face_recognition_sface file: give --sface FILE"
    if yunet is None:
        return "SFace needs YuNet's file to find the face: give --yunet FILE, or --weights of a folder that holds it"
    cv2: Any = importlib.import_module("cv2")
    detector = YuNetDetector(yunet)
    try:
        network = cv2.FaceRecognizerSF.create(str(options.sface), "")
    except cv2.error as error:
        raise WeightsError(
            f"{options.sface} is no SFace network that OpenCV {cv2.__version__} can use: give OpenCV's "
            "face_recognition_sface file"
        ) from error

    def describe(picture: Picture) -> Numbers:
        face = choose_face(detector(picture), "largest", None)
        if face is None or face.points is None:
            return np.full(SFACE_NUMBERS, np.nan)
        box = face.box
        row = (box.left, box.top, box.width, box.height, *np.ravel(face.points), face.score)
        aligned = network.alignCrop(np.ascontiguousarray(picture[:, :, ::-1]), np.array(row, np.float32))
        return np.asarray(network.feature(aligned), np.float64).ravel()

    origin = Origin("OpenCV's SFace", options.sface.name, sha256_of(options.sface), "Apache-2.0")
    return Judge(lambda pictures: np.stack([describe(picture) for picture in pictures]), origin)


def arcface_judge(options: JudgeOptions) -> OpenedJudge[PerPicture]:
    """ArcFace's 512 numbers of the largest face; the package downloads its models, which are for research only."""
    if not options.insightface:
        return "ArcFace's models are for research only and are downloaded: give --insightface if you may use them"
    if importlib.util.find_spec("insightface") is None:
        return "needs the insightface and onnxruntime packages: pip install insightface onnxruntime"
    app: Any = importlib.import_module("insightface.app")
    _log.warning("insightface's models are licensed for non-commercial research only")
    analysis = app.FaceAnalysis(name=_PACK, allowed_modules=["detection", "recognition"])
    analysis.prepare(ctx_id=0, det_size=(640, 640))

    def describe(pictures: Pictures) -> Numbers:
        rows = []
        for picture in pictures:
            faces = analysis.get(np.ascontiguousarray(picture[:, :, ::-1]))
            largest = max(faces, key=lambda face: np.prod(face.bbox[2:] - face.bbox[:2]), default=None)
            rows.append(np.full(ARCFACE_NUMBERS, np.nan) if largest is None else np.float64(largest.normed_embedding))
        return np.stack(rows)

    return Judge(describe, Origin("ArcFace (R50)", f"insightface's {_PACK}", "", "non-commercial research only"))
