"""A face in a picture as LivePortrait crops it: detected, or given by hand; and followed from frame to frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ...faces.crop import Box, Face, FaceDetector, choose_face
from ...faces.tracking import TrackOptions, TrackState, track
from ...media.picture import Picture
from .crops import CropRule
from .landmarks import Floats32

Landmarks = Callable[[Picture, NDArray[np.floating]], Floats32]  # as a LiveLandmarker is called

FIVE = 5
# Two eyes, nose, two mouth corners of a frontal face, in parts of the box that YuNet puts around it.
_IN_BOX = ((0.27, 0.395), (0.73, 0.395), (0.5, 0.57), (0.3, 0.74), (0.7, 0.74))
# Five points span the eyes to the mouth, the published 106 and 203 the brows to the chin. In a frontal face of average
# proportions, with a distance of 1 between the pupils, that is 1.06 and 2.3; their centres are 0.18 apart.
_FIVE_SPAN, _FULL_SPAN, _LOWER = 1.06, 2.3, 0.18
_SMALLEST, _LARGEST = 0.35, 1.6  # extent of a face's landmarks, in sides of its box, beyond which they are elsewhere
_APART = 0.5  # likewise, of the distance between their centres
_GROWTH = 1.5  # of landmarks from frame to frame, beyond which they have slipped off the face


@dataclass(frozen=True, eq=False)
class FoundFace:
    """A face in a picture."""

    points: NDArray[np.floating]  # [N, 2] in pixels, of a layout that `face_axis` knows: they place the crop
    box: Box
    landmarks: Floats32 | None = None  # [203, 2]; None without the landmark network


def rule_for(rule: CropRule, points: NDArray[np.floating]) -> CropRule:
    """`rule`, which is meant for landmarks from brows to chin, so that it gives about the same crop for `points`."""
    if len(points) != FIVE:
        return rule
    side = rule.scale * _FULL_SPAN
    return replace(rule, scale=side / _FIVE_SPAN, down=rule.down + _LOWER / side)


def face_in_box(picture: Picture, box: Box, landmarks: Landmarks | None = None) -> FoundFace:
    """The face that fills a `box` given by hand, of an animal too."""
    return detected_face(picture, Face(box, 1.0), landmarks)


def face_at_points(points: NDArray[np.floating]) -> FoundFace:
    """A face given by its landmarks [N, 2], such as the nine of an animal."""
    (left, top), (right, bottom) = points.min(0), points.max(0)
    return FoundFace(np.asarray(points, np.float32), Box(float(left), float(top), float(right), float(bottom)))


def detected_face(picture: Picture, face: Face, landmarks: Landmarks | None = None) -> FoundFace:
    """What a detector found, with 203 landmarks if there is the network for them."""
    five = _five_points(face)
    refined = None if landmarks is None else landmarks(picture, five)
    if refined is None or not _is_on(refined, face.box):
        return FoundFace(five, face.box)
    return FoundFace(refined, face.box, refined)


def find_face(
    picture: Picture, detector: FaceDetector, choice: str = "largest", landmarks: Landmarks | None = None
) -> FoundFace | None:
    """The face of a picture [H, W, 3] that `choose_face` selects; None if it is not there."""
    face = choose_face(detector(picture), choice, None)
    return None if face is None else detected_face(picture, face, landmarks)


@dataclass(frozen=True)
class Finder:
    """How the face of each frame is found. Without a detector and a box, each whole frame is the face."""

    detector: FaceDetector | None = None
    landmarks: Landmarks | None = None
    track: TrackOptions = field(default_factory=TrackOptions)  # its `manual` is the face's box in the first frame

    @property
    def looks(self) -> bool:
        """True if faces are looked for at all."""
        return self.detector is not None or self.track.manual is not None


@dataclass(frozen=True, eq=False)
class FollowState:
    """What is known of the face after a frame."""

    track: TrackState | None = None
    landmarks: Floats32 | None = None  # [203, 2] of the frame before; None: look anew


def follow_face(state: FollowState, picture: Picture, finder: Finder) -> tuple[FollowState, FoundFace | None]:
    """The state after one more frame, and the followed face in it; None where it is not found.

    The landmarks of the frame before place what the network of 203 landmarks sees. Where these are not on the face,
    it is looked for anew: by the detector's points, or at the place that was given by hand.
    """
    manual = finder.track.manual
    if manual is not None:
        found = follow_landmarks(state.landmarks, picture, Face(manual, 1.0), finder, moves=True)
        return FollowState(landmarks=found.landmarks), found
    if finder.detector is None:
        return state, None
    faces = finder.detector(picture)
    tracked, is_found = track(state.track, faces, picture.shape[:2], finder.track)
    if not is_found:
        return FollowState(tracked), None
    face = next(face for face in faces if face.box is tracked.face)
    found = follow_landmarks(state.landmarks, picture, face, finder)
    return FollowState(tracked, found.landmarks), found


def follow_landmarks(
    before: Floats32 | None, picture: Picture, face: Face, finder: Finder, moves: bool = False
) -> FoundFace:
    """A detected face by the landmarks [203, 2] of the frame before, if they lead to it; else as `detected_face`.

    `moves`: the face may have left its box since the first frame, and is known by its landmarks alone.
    """
    if finder.landmarks is None or before is None or not (moves or _is_on(before, face.box)):
        return detected_face(picture, face, finder.landmarks)
    refined = finder.landmarks(picture, before)
    is_kept = _goes_on(before, refined, picture) if moves else _is_on(refined, face.box)
    if not is_kept:
        return detected_face(picture, face, finder.landmarks)
    return FoundFace(refined, face_at_points(refined).box if moves else face.box, refined)


def _five_points(face: Face) -> Floats32:
    if face.points is not None:
        return np.array(face.points, np.float32)
    box = face.box
    return (np.array(_IN_BOX) * (box.width, box.height) + (box.left, box.top)).astype(np.float32)


def _is_on(points: Floats32, box: Box) -> bool:
    """True if landmarks lie where the face in the box is."""
    apart = np.abs(points.mean(0) - box.centre).max() / box.side
    return bool(_SMALLEST <= np.ptp(points, axis=0).max() / box.side <= _LARGEST and apart <= _APART)


def _goes_on(before: Floats32, points: Floats32, picture: Picture) -> bool:
    """True if landmarks may be those of the frame before, moved."""
    height, width = picture.shape[:2]
    growth = np.ptp(points, axis=0).max() / max(float(np.ptp(before, axis=0).max()), 1e-6)
    x, y = points.mean(0)
    return bool(1 / _GROWTH <= growth <= _GROWTH and 0 <= x < width and 0 <= y < height)
