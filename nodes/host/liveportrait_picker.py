"""What the face picker of LivePortrait's sources shows after a run: the picture, its faces, the turned square."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...personalive_core.backends.liveportrait.crops import SIDE, CropMatrix, transformed
from ...personalive_core.backends.liveportrait.portrait import SourcePortrait
from ...personalive_core.errors import PersonaLiveError
from ...personalive_core.faces.crop import Face
from ...personalive_core.media.picture import Picture
from .faces import SHOWN_BY_ROUTE, boxes
from .liveportrait_film import SourceVideo
from .liveportrait_source import FaceChoice, live_face_detector
from .panel import picture_for_page
from .sockets import LoadedLivePortrait

CORNERS = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]])


def picture_faces(model: LoadedLivePortrait, portrait: SourcePortrait, wanted: FaceChoice) -> dict[str, Any]:
    """Data for the face picker of a picture."""
    shown = picture_for_page(portrait.whole)
    return {**shown, **_looked(model, portrait.whole, wanted), "crop": outline(portrait.crop.matrix)}


def film_faces(model: LoadedLivePortrait, source: SourceVideo, wanted: FaceChoice) -> dict[str, Any]:
    """Data for the face picker of a film: its first frame, in pixels of the film."""
    looked = _looked(model, source.whole, wanted)
    return {**picture_for_page(source.whole), **looked, "crop": outline(source.film.matrices[0], 1 / source.scale)}


def outline(matrix: CropMatrix, by: float = 1.0) -> list[list[float]]:
    """The corners [x, y] of the crop's square in the picture, in turn, each times `by`; `matrix` leads there."""
    corners: list[list[float]] = (by * transformed(CORNERS, matrix)).round(1).tolist()
    return corners


def _looked(model: LoadedLivePortrait, picture: Picture, wanted: FaceChoice) -> dict[str, Any]:
    """The faces to choose from, of people alone, and whether the node looks for any."""
    found = _offered(picture, wanted.detector) if model.subject == "human" else ()
    return {"faces": boxes(found), "detects": wanted.detector != "none"}


def _offered(picture: Picture, name: str) -> tuple[Face, ...]:
    """The faces that a detector of ours finds; none if it is missing: the face may have been chosen by hand."""
    try:
        detector = live_face_detector(name, picture, needed=False) if name in SHOWN_BY_ROUTE else None
        return tuple(detector(picture)) if detector else ()
    except PersonaLiveError:
        return ()
