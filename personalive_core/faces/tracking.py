"""Face tracking: a crop follows one person's face through a clip; it moves only when it must, and smoothly."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .crop import (
    PORTRAIT_EXPAND,
    Box,
    Crop,
    Face,
    FaceDetector,
    FrameSize,
    Patch,
    choose_face,
    cut_patch,
    face_distance,
    portrait_crop,
    square_around,
    whole_frame,
)

# Crop motion, per axis. Units: crop sides (the logarithm for the size) and frames. The target speed is _GAIN times the
# remaining distance. The speed changes by at most _ACCELERATION per frame and never exceeds _ACCELERATION / _GAIN.
# The needed braking, _GAIN times the speed, is therefore always possible: a crop never overshoots its goal.
_GAIN = 0.2
_ACCELERATION = 0.01
_SETTLED = 0.25  # part of the rest zone in which a moving crop stops: near the ideal crop, not at the zone's edge
_SIZE_MEMORY = 0.1  # weight of a new frame in the moving average of the ideal crop's size
_DRIFT_MEMORY = 0.5  # weight of a new frame in the face's average speed; also its decay per frame without the face


class Speed(NamedTuple):
    """A crop's speed: x and y of its centre in crop sides per frame; the size as change of ln(size) per frame."""

    x: float = 0.0
    y: float = 0.0
    size: float = 0.0


@dataclass(frozen=True)
class TrackOptions:
    """Which person to follow, and when the crop moves."""

    choice: str = "largest"  # the face to start with, see `choose_face`; after that, the same person is followed
    manual: Box | None = None  # the user's box: its square is the crop of every frame, without face detection
    expand: float = PORTRAIT_EXPAND  # side of the crop, in units of the face's side
    rest: float = 0.1  # rest zone: distance of the ideal crop, in crop sides, above which the crop moves
    resize: float = 1.25  # factor of change in the face's average size above which the crop is resized
    reach: float = 0.75  # largest `face_distance` from the expected position for a face of the same person
    patience: int = 12  # frames without the person after which another face is accepted, as in a new shot


@dataclass(frozen=True)
class TrackState:
    """The complete state of the tracker between two frames."""

    crop: Crop
    face: Box | None = None  # the person's last face box; moved by `drift` for each frame without the face
    drift: tuple[float, float] = (0.0, 0.0)  # the face's speed (x, y) in pixels per frame
    missed: int = 0  # frames since the face was last found
    lasting: float = 0.0  # moving average of the ideal crop's side in pixels
    speed: Speed = Speed()  # the crop's speed


def track(
    state: TrackState | None, faces: Sequence[Face], frame_size: FrameSize, options: TrackOptions
) -> tuple[TrackState, bool]:
    """The state after one more frame (`state` is None before the first), and whether the person's face is in it.

    Until a face is found, the crop is `whole_frame`. After that the crop moves only when the face leaves the rest zone,
    and slows to a stop while the face is missing. It jumps only at a cut: after `patience` frames without the person, a
    face is accepted that is not wholly inside the crop, or too small in it. Raises InputError for an unknown choice.
    """
    if options.manual is not None:
        return TrackState(square_around(options.manual)), True
    state = state or TrackState(whole_frame(frame_size))
    found = _same_person(state, faces, options)
    if found is None:
        return _wait(state), False
    ideal = portrait_crop(found.box, frame_size, options.expand)
    cut = state.missed >= options.patience and not _suits(state.crop, ideal, options)
    if state.face is None or cut:
        return TrackState(ideal, found.box, lasting=ideal.size), True
    drift = _drift(state, state.face, found.box)
    return replace(_follow(state, ideal, options), face=found.box, drift=drift, missed=0), True


def _same_person(state: TrackState, faces: Sequence[Face], options: TrackOptions) -> Face | None:
    if state.face is None:
        return choose_face(faces, options.choice, None)
    expected = state.face.moved(*state.drift)  # without the drift, the crop would change person when two people cross
    nearest = choose_face(faces, "nearest", expected)
    if nearest is not None and face_distance(nearest.box, expected) <= options.reach:
        return nearest
    return choose_face(faces, options.choice, expected) if state.missed >= options.patience else None


def _suits(crop: Crop, ideal: Crop, options: TrackOptions) -> bool:
    """Whether `crop` wholly contains the face whose ideal crop is `ideal`, and is not much too large for it."""
    (x, y), (ideal_x, ideal_y) = crop.centre, ideal.centre
    room = (crop.size - ideal.size / options.expand) / 2
    return max(abs(ideal_x - x), abs(ideal_y - y)) <= room and crop.size <= ideal.size * options.resize


def _drift(state: TrackState, before: Box, now: Box) -> tuple[float, float]:
    """The face's average speed (x, y) in pixels per frame, after it moved from `before` to `now`."""
    frames = state.missed + 1
    steps = ((n - b) / frames for n, b in zip(now.centre, before.centre, strict=True))
    x, y = (old + _DRIFT_MEMORY * (step - old) for old, step in zip(state.drift, steps, strict=True))
    return x, y


def _wait(state: TrackState) -> TrackState:
    """For a frame without the face: the crop slows down; the expected face moves on with a decaying drift."""
    x, y = state.drift
    speed = Speed(*(_towards(now, 0.0) for now in state.speed))
    return replace(
        state,
        crop=_moved(state.crop, speed),
        speed=speed,
        face=state.face and state.face.moved(x, y),
        drift=(x * _DRIFT_MEMORY, y * _DRIFT_MEMORY),
        missed=state.missed + 1,
    )


def _follow(state: TrackState, ideal: Crop, options: TrackOptions) -> TrackState:
    """For a frame with the face: the crop stays, or moves smoothly towards `ideal`."""
    crop, speed = state.crop, state.speed
    lasting = state.lasting + _SIZE_MEMORY * (ideal.size - state.lasting)
    (x, y), (ideal_x, ideal_y) = crop.centre, ideal.centre
    speed = Speed(
        _glide((ideal_x - x) / crop.size, speed.x, options.rest),
        _glide((ideal_y - y) / crop.size, speed.y, options.rest),
        _glide(math.log(lasting / crop.size), speed.size, math.log(options.resize)),
    )
    return replace(state, crop=_moved(crop, speed), lasting=lasting, speed=speed)


def _glide(error: float, speed: float, rest: float) -> float:
    """The next frame's speed along one axis; `error` is the distance to the goal, `rest` the size of the rest zone."""
    zone = rest * _SETTLED if speed else rest
    top = _ACCELERATION / _GAIN
    return _towards(speed, min(max(_GAIN * error, -top), top) if abs(error) > zone else 0.0)


def _towards(speed: float, wanted: float) -> float:
    return speed + min(max(wanted - speed, -_ACCELERATION), _ACCELERATION)


def _moved(crop: Crop, speed: Speed) -> Crop:
    """The crop one frame later. At speed 0 it is bit-identical."""
    size = crop.size * math.exp(speed.size)
    shrunk = (crop.size - size) / 2
    return Crop(crop.left + speed.x * crop.size + shrunk, crop.top + speed.y * crop.size + shrunk, size)


@dataclass(frozen=True, eq=False)
class CutFrame:
    """The part of a driving frame that shows the followed face, in the frame's own pixels."""

    patch: Patch
    crop: Crop  # the square of the frame that the patch holds
    found: bool  # False: the person's face was not found, and the crop slows to a stop


@dataclass(frozen=True, eq=False)
class CroppedFrame:
    """A driving frame, cropped as the keypoint extractor and the facial motion encoder take it."""

    picture: np.ndarray  # [S, S, 3] uint8 RGB
    crop: Crop  # the square of the frame that `picture` shows
    found: bool  # as in `CutFrame`


def cut_frames(
    frames: Iterable[np.ndarray], detector: FaceDetector | None, options: TrackOptions
) -> Generator[CutFrame, None, None]:
    """Yields the crop to the followed face of each of the frames [H, W, 3] uint8, not yet resized.

    Without a detector and without a manual box the crop is `whole_frame`. Raises InputError as `track` does.
    """
    state: TrackState | None = None
    for frame in frames:
        state, part = cut_next(state, frame, detector(frame) if detector else None, options)
        yield part


def cut_next(
    state: TrackState | None, frame: np.ndarray, faces: Sequence[Face] | None, options: TrackOptions
) -> tuple[TrackState | None, CutFrame]:
    """The next of `cut_frames`, and the state after it; `faces` None: none were looked for."""
    crop, found = whole_frame(frame.shape[:2]), True
    if faces is not None or options.manual:
        state, found = track(state, faces or (), frame.shape[:2], options)
        crop = state.crop
    return state, CutFrame(cut_patch(frame, crop), crop, found)


def crop_frames(
    frames: Iterable[np.ndarray], size: int, detector: FaceDetector | None, options: TrackOptions
) -> Iterator[CroppedFrame]:
    """Like `cut_frames`, resized to [size, size, 3]."""
    for part in cut_frames(frames, detector, options):
        yield CroppedFrame(part.patch.resized(size), part.crop, part.found)
