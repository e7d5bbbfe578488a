"""One person's face followed through a clip by a crop that rests while it can and glides when it must."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
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
    choose_face,
    crop_image,
    face_distance,
    portrait_crop,
    square_around,
    whole_frame,
)

# The glide, for each axis in crop sides (for the size: its logarithm) and frames. The speed aimed at is _GAIN times the
# distance left and changes by at most _ACCELERATION a frame. No speed exceeds _ACCELERATION / _GAIN, so the slowing
# down this asks for, _GAIN times the speed, is always within reach: a crop never runs past its goal.
_GAIN = 0.2
_ACCELERATION = 0.01
_SETTLED = 0.25  # part of the rest zone within which a crop under way comes to rest, near the ideal and not at the edge
_SIZE_MEMORY = 0.1  # weight of a new frame in the face's lasting size
_DRIFT_MEMORY = 0.5  # weight of a new frame in the face's speed; also what is left of it after a frame without the face


class Speed(NamedTuple):
    """A crop's speed: of its centre in crop sides a frame, of its size as ln(size) a frame."""

    x: float = 0.0
    y: float = 0.0
    size: float = 0.0


@dataclass(frozen=True)
class TrackOptions:
    """Whom to follow and how firmly."""

    choice: str = "largest"  # whom to follow, see choose_face; afterwards the same person
    manual: Box | None = None  # a box drawn by the user: its square is the crop of every frame, no face is looked for
    expand: float = PORTRAIT_EXPAND  # crop side in face sides
    rest: float = 0.1  # how far, in crop sides, the ideal crop may stray before the crop moves
    resize: float = 1.25  # by what factor the face's lasting size may change before the crop is resized
    reach: float = 0.75  # face_distance from where the face is expected within which a face is the same person's
    patience: int = 12  # frames without the person after which another face is taken for a new shot's


@dataclass(frozen=True)
class TrackState:
    """Between two frames, all there is."""

    crop: Crop
    face: Box | None = None  # where the person's face was last, moved on by its drift while it is missing
    drift: tuple[float, float] = (0.0, 0.0)  # the face's speed in pixels a frame
    missed: int = 0  # frames since the face was found
    lasting: float = 0.0  # the ideal crop's side, averaged over the last frames
    speed: Speed = Speed()  # the crop's


def track(
    state: TrackState | None, faces: Sequence[Face], frame_size: FrameSize, options: TrackOptions
) -> tuple[TrackState, bool]:
    """The state after one more frame (`state` is None before the first) and whether the person's face is in it.

    Until a face is found the crop is the whole frame. From then on it moves only when the face strays from the rest
    zone, and comes to rest when the face is missing. It jumps only where, after `patience` frames without the person,
    a face is taken that the crop has not wholly in view: a cut. Raises InputError for an unknown choice.
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
    expected = state.face.moved(*state.drift)  # without the drift, two people who cross would swap
    nearest = choose_face(faces, "nearest", expected)
    if nearest is not None and face_distance(nearest.box, expected) <= options.reach:
        return nearest
    return choose_face(faces, options.choice, expected) if state.missed >= options.patience else None


def _suits(crop: Crop, ideal: Crop, options: TrackOptions) -> bool:
    """Whether a face whose ideal crop is `ideal` is wholly in view of `crop`, at about the right size."""
    (x, y), (ideal_x, ideal_y) = crop.centre, ideal.centre
    room = (crop.size - ideal.size / options.expand) / 2
    return max(abs(ideal_x - x), abs(ideal_y - y)) <= room and crop.size <= ideal.size * options.resize


def _drift(state: TrackState, before: Box, now: Box) -> tuple[float, float]:
    frames = state.missed + 1
    steps = ((n - b) / frames for n, b in zip(now.centre, before.centre, strict=True))
    x, y = (old + _DRIFT_MEMORY * (step - old) for old, step in zip(state.drift, steps, strict=True))
    return x, y


def _wait(state: TrackState) -> TrackState:
    """The frame lacks the face: the crop brakes, the face is expected where its dying drift takes it."""
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
    """The frame has the face: the crop rests, or glides towards `ideal`."""
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
    """The next frame's speed, from how far the goal is and how far it may be before a crop at rest stirs."""
    zone = rest * _SETTLED if speed else rest
    top = _ACCELERATION / _GAIN
    return _towards(speed, min(max(_GAIN * error, -top), top) if abs(error) > zone else 0.0)


def _towards(speed: float, wanted: float) -> float:
    return speed + min(max(wanted - speed, -_ACCELERATION), _ACCELERATION)


def _moved(crop: Crop, speed: Speed) -> Crop:
    """The crop one frame on. At speed 0 every number stays the same to the last bit."""
    size = crop.size * math.exp(speed.size)
    shrunk = (crop.size - size) / 2
    return Crop(crop.left + speed.x * crop.size + shrunk, crop.top + speed.y * crop.size + shrunk, size)


@dataclass(frozen=True, eq=False)
class CroppedFrame:
    """A driving frame as the extractor and the encoder see it."""

    picture: np.ndarray  # [S, S, 3] uint8 RGB
    crop: Crop  # the square of the frame that it shows
    found: bool  # False: the detector saw no face, and the crop waits where it was


def crop_frames(
    frames: Iterable[np.ndarray], size: int, detector: FaceDetector | None, options: TrackOptions
) -> Iterator[CroppedFrame]:
    """Each of the frames [H, W, 3] uint8 cut to the face that is followed, one at a time, `size` pixels a side.

    Without a detector and without a box by hand the whole frame is the portrait.
    """
    state: TrackState | None = None
    for frame in frames:
        crop, found = whole_frame(frame.shape[:2]), True
        if detector or options.manual:
            faces = detector(frame) if detector else ()
            state, found = track(state, faces, frame.shape[:2], options)
            crop = state.crop
        yield CroppedFrame(crop_image(frame, crop, size), crop, found)
