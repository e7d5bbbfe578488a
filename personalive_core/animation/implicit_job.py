"""Runs `animate` and `motion` with LivePortrait, from files to a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..backends.liveportrait.crops import SOURCE_CROP, CropRule, limited_scale
from ..backends.liveportrait.driving import DrivingFaces, boxed_driving, find_driving, read_driving
from ..backends.liveportrait.finding import Finder, FoundFace, Landmarks, face_at_points, face_in_box, find_face
from ..backends.liveportrait.landmarker import open_landmarker
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.motion_files import IMPLICIT
from ..backends.liveportrait.types import ImplicitMotion
from ..errors import FaceError, InputError
from ..faces.crop import Box, FrameSize, crop_by_hand
from ..faces.tracking import TrackOptions
from ..media.picture import Picture
from ..media.video import Frame, is_pictures, probe
from ..motion.gaps import fill_missing
from .driving import (
    DrivingClip,
    DrivingVideo,
    always_found,
    find_detector,
    is_motion,
    open_driving,
    read_smoothed,
)
from .extracting import OpenedFilm, extract_film
from .job import progress
from .liveportrait_engine import LivePortraitEngine


@dataclass(frozen=True)
class SourceFace:
    """How the face in the source picture or video is found and cropped."""

    detector: str = "auto"  # auto: yunet; none: the whole picture is the face
    choice: str = "largest"  # of the detected faces, see `choose_face`
    box: Box | None = None  # the face, in pixels of the reference; of a video, in its first frame
    points: tuple[tuple[float, float], ...] | None = None  # landmarks by hand, such as the nine of an animal; likewise
    rule: CropRule = SOURCE_CROP
    limit: int = 1280  # pixels of the longer side to which a larger source is resized; 0: it stays as large as it is

    def resized(self, size: FrameSize) -> SourceFace:
        """The same with box and points in pixels of the reference as `limited` gives it; `size` is its own.

        Raises InputError for a face outside the reference.
        """
        by, box, points = limited_scale(size[1], size[0], self.limit), self.box, self.points
        if box:
            crop_by_hand(box, size, "--reference-box")
            box = Box(box.left * by, box.top * by, box.right * by, box.bottom * by)
        if points:
            crop_by_hand(face_at_points(np.array(points)).box, size, "--reference-points")
            points = tuple((x * by, y * by) for x, y in points)
        return replace(self, box=box, points=points)


def find_source(picture: Picture, face: SourceFace, weights: Path, landmarks: Landmarks | None) -> FoundFace | None:
    """The face of a source picture [H, W, 3]; None if the whole picture is to be the face.

    Raises FaceError if it is not found, WeightsError if the detector's file is missing.
    """
    if face.points:
        return face_at_points(torch.tensor(face.points).numpy())
    if face.box:
        return face_in_box(picture, face.box, landmarks)
    detector = find_detector(always_found(face.detector), picture, weights)
    if detector is None:
        return None
    found = find_face(picture, detector, face.choice, landmarks)
    if found is None:
        raise FaceError(
            f"the face {face.choice!r} is not in the reference picture: give --reference-box with the face's box, "
            "another --detector, or --detector none for a picture that is cropped already"
        )
    return found


def is_film(path: Path) -> bool:
    """True if the reference is a video, whose every frame is animated. Raises InputError if it cannot be read."""
    return not is_pictures(path) or (probe(path).frames or 1) > 1


def is_still(driving: Path) -> bool:
    """True if the driving is one picture. Raises InputError if it cannot be read."""
    return is_pictures(driving) and probe(driving).frames == 1


def gives_picture(reference: Path, driving: Path) -> bool:
    """True if the result is a picture: a picture is driven by one. Raises InputError if a file cannot be read."""
    return not is_motion(driving) and is_still(driving) and not is_film(reference)


def film_finder(face: SourceFace, picture: Picture, weights: Path, landmarks: Landmarks | None) -> Finder:
    """How faces of a source video are found, whose first frame is `picture`. Raises InputError for points by hand."""
    if face.points:
        raise InputError("points by hand are those of one picture, and the reference is a video: give --reference-box")
    detector = None if face.box else find_detector(always_found(face.detector), picture, weights)
    return Finder(detector, landmarks, TrackOptions(choice=face.choice, manual=face.box))


@dataclass(frozen=True, eq=False)
class FilmDriving:
    """A driving video or picture whose first frame could be read."""

    video: DrivingVideo
    landmarks: Landmarks | None = None

    def faces(self, quiet: bool) -> DrivingFaces:
        """Finds its faces in a first pass, if they are to be found. Raises FaceError if there are none."""
        clip, options = self.video.clip, self.video.options
        if clip.box:
            return boxed_driving(clip.box)
        if options.detector is None:
            return DrivingFaces()
        finder = Finder(options.detector, self.landmarks, options.track)
        with closing(self.video.read()) as frames:
            bar = progress(frames, self.video.count, "faces", quiet)
            return find_driving((frame.image for frame in bar), finder)

    def motion(
        self, model: LivePortrait, frames: Iterable[Frame], faces: DrivingFaces, neutral: ImplicitMotion | None = None
    ) -> Iterator[ImplicitMotion]:
        """The motion of its `frames`, smoothed and filled, in pieces."""
        return fill_missing(self.gappy(model, frames, faces), self.video.options.missing, neutral)

    def gappy(self, model: LivePortrait, frames: Iterable[Frame], faces: DrivingFaces) -> Iterator[ImplicitMotion]:
        """The same, but frames without a face are not filled: the same for every reference."""
        read = partial(read_driving, model, faces=faces)
        return read_smoothed(frames, read, self.video.options.smoothing)


def open_film(clip: DrivingClip, weights: Path) -> FilmDriving:
    """Opens a driving video, picture or folder. Raises as `open_driving` and `open_landmarker` do."""
    video = open_driving(clip, 256, weights)
    return FilmDriving(video, open_landmarker(weights) if video.options.detector else None)


def extract_implicit(clip: DrivingClip, engine: LivePortraitEngine, output: Path, quiet: bool) -> ImplicitMotion:
    """Extracts the motion of `clip`'s frames and writes it, with their times, to the motion file `output`.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """

    def opened() -> OpenedFilm[ImplicitMotion]:
        driving = open_film(clip, engine.weights)
        faces = driving.faces(quiet)  # without the networks: what shows no face is refused before they load
        return driving.video, lambda model, frames: driving.motion(model, frames, faces)

    return extract_film(IMPLICIT, clip, engine, opened, output, quiet)
