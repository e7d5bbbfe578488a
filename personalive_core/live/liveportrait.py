"""LivePortrait as a performer: reads each driving frame, and draws the reference with its change since the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from ..backends.liveportrait.animation import AnimationOptions, animate_animal, animate_picture
from ..backends.liveportrait.crops import SIDE
from ..backends.liveportrait.driving import INPUT_SIDE
from ..backends.liveportrait.finding import Finder, Landmarks, follow_landmarks
from ..backends.liveportrait.landmarks import Floats32
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.motion import FaceFacts, read_implicit, unit_pictures
from ..backends.liveportrait.pasting import LivePaste
from ..backends.liveportrait.portrait import face_facts
from ..backends.liveportrait.stream import check_openness
from ..backends.liveportrait.types import ImplicitMotion, LiveSource
from ..backends.personalive.motion import Strengths
from ..backends.personalive.pictures import begin_pictures
from ..faces.crop import Face, FaceDetector, FrameSize, crop_image, whole_frame
from ..faces.tracking import CutFrame, TrackOptions, TrackState, cut_next
from ..media.picture import Picture
from ..motion.smoothing import OneEuroState, pose_smoothing, smooth_next
from ..motion.types import HeadPose
from .liveportrait_source import read_live_reference
from .types import Captured, Made, Performed, Settings

LIVE_STRENGTHS = Strengths(translation=1.0, scale=1.0)  # the whole change since the first frame, as published
# What grows with the source's face leaves a person's relative motion as it is, and costs a hull a frame.
OPTIONS = AnimationOptions(expression_friendly=False)


@dataclass(frozen=True, eq=False)
class LivePortraitState:
    """Everything between two steps; nothing of it belongs to the reference."""

    track: TrackState | None = None
    tracked: tuple[FrameSize, str] | None = None  # the frame size and the choice of face that `track` is for
    smoothing: OneEuroState | None = None
    motion: ImplicitMotion | None = None  # [1] of the last face
    first: ImplicitMotion | None = None  # [1] what motion is measured against
    time: float | None = None  # seconds, of the last frame
    calibrate: bool = True  # the next face is the one that motion is measured against
    windows: int = 0  # frames that were made
    points: Floats32 | None = None  # [203, 2] landmarks in the last frame; None: look anew


@dataclass(frozen=True, eq=False)
class LivePortraitPerformer:
    """LivePortrait with one reference, for `LiveSession`: a result with each driving frame, none in flight."""

    model: LivePortrait
    source: LiveSource  # [1], on the model's device
    portrait: Picture  # [S, S, 3] what the reference shows
    paste: LivePaste | None = None  # puts the face back into the portrait; None: the result is the whole portrait
    detector: FaceDetector | None = None  # None: the centred square of a frame is the portrait
    options: AnimationOptions = field(default=OPTIONS)
    animal: bool = False  # the reference is an animal, with networks for animals
    encoder: LivePortrait | None = None  # reads further references; None: `model`
    landmarks: Landmarks | None = None  # says how open eyes and lips are, which only some `options` need

    @property
    def window(self) -> int:
        """Frames of a step: one."""
        return 1

    @property
    def size(self) -> int:
        """Pixels a side of the result."""
        return len(self.portrait)

    def begin(self) -> LivePortraitState:
        """The state before the first step."""
        return LivePortraitState()

    def calibrated(self, state: LivePortraitState) -> LivePortraitState:
        """The state from which the next face is the one that motion is measured against."""
        return replace(state, calibrate=True)

    def with_reference(self, picture: Picture) -> LivePortraitPerformer:
        """The same with another reference, see `read_live_reference`; no detector knows an animal's face.

        Raises InputError if the options need the openness of its eyes or lips, and it is not known.
        """
        detector = None if self.animal else self.detector
        read = read_live_reference(self.encoder or self.model, picture, self.size, detector, self.landmarks)
        check_openness(read.source.motion, self.options)
        return replace(self, source=read.source, portrait=read.portrait, paste=read.paste)

    def perform(self, state: LivePortraitState, frames: Sequence[Captured], settings: Settings) -> Performed:
        """One step: the newest of the driving frames; earlier ones, which quick mode may give, are passed over.

        Raises NumericalError for NaN or only black pictures, and what the device raises; never for a missing face.
        """
        newest = frames[-1]
        with torch.inference_mode():
            state, part, faces = self._cut(state, newest, settings)
            state, seen = self._facts(state, newest.picture, part, faces)
            read = read_implicit(self.model, unit_pictures([part.patch.resized(INPUT_SIDE)]), seen)
            state = follow_implicit(state, newest.time, read, settings.smoothing)
            picture = self._draw(self._keypoints(state, settings.strengths))
        made = Made(picture, newest.number, newest.time, state.windows, valid=part.found)
        count = 1 if faces is None else len(faces)
        return Performed(replace(state, windows=state.windows + 1), (made,), count, part.found)

    def _cut(
        self, state: LivePortraitState, frame: Captured, settings: Settings
    ) -> tuple[LivePortraitState, CutFrame, Sequence[Face] | None]:
        """The part of the frame that shows the followed face, and all faces if they were looked for."""
        tracked = frame.picture.shape[:2], settings.face
        track, points = (state.track, state.points) if tracked == state.tracked else (None, None)
        faces = self.detector(frame.picture) if self.detector else None
        track, part = cut_next(track, frame.picture, faces, TrackOptions(choice=settings.face))
        return replace(state, track=track, tracked=tracked, points=points), part, faces

    def _facts(
        self, state: LivePortraitState, picture: Picture, part: CutFrame, faces: Sequence[Face] | None
    ) -> tuple[LivePortraitState, FaceFacts]:
        """What is known of the followed face besides its motion; how open it is where the options need that."""
        box, track = _box(part), state.track
        face = next((face for face in faces or () if track and part.found and face.box is track.face), None)
        if face is None or self.landmarks is None or not self.options.retargets:
            return replace(state, points=None), FaceFacts(box=box, valid=torch.tensor([part.found]))
        found = follow_landmarks(state.points, picture, face, Finder(landmarks=self.landmarks))
        return replace(state, points=found.landmarks), replace(face_facts([found], [True]), box=box)

    def _keypoints(self, state: LivePortraitState, strengths: Strengths) -> Tensor:
        """[1, 21, 3]: the source's own until there was a face, and until its openness is known if that is followed."""
        own = self.source.motion
        if state.motion is None or state.first is None:
            return own.keypoints
        animate = animate_animal if self.animal else animate_picture
        moved = weakened(state.motion, state.first, strengths)
        if not is_known(moved, self.options):
            return own.keypoints
        return animate(own, moved, state.first, self.model, self.options)

    def _draw(self, keypoints: Tensor) -> Picture:
        """The result [S, S, 3]."""
        pixels = self.model.render(self.source.volume, self.source.motion.keypoints, keypoints)
        picture = np.asarray(begin_pictures(pixels, self.model.dtype, torch.trunc)()[0])
        return self.paste(picture) if self.paste else crop_image(picture, whole_frame((SIDE, SIDE)), self.size)


def follow_implicit(
    state: LivePortraitState, time: float, motion: ImplicitMotion, cutoff: float | None
) -> LivePortraitState:
    """The state after one more frame, at `time` in seconds, whose own `motion` [1] was read.

    Head pose and box are smoothed with this cutoff in Hz. Without a face the motion of the last one is held, and where
    the openness of eyes and lips is not known, that of the last frame.
    """
    step = 0.0 if state.time is None else time - state.time
    options = pose_smoothing(1 / step if step > 0 else 1.0, cutoff)
    smoothing = None if options is None or step <= 0 else state.smoothing
    if options is not None:
        smoothing, motion = smooth_next(smoothing, motion, options)
    if not bool(motion.valid):
        return replace(state, smoothing=smoothing, time=time)
    motion = with_openness_of(motion, state.motion)
    first = motion if state.calibrate or state.first is None else with_openness_of(state.first, motion)
    return replace(state, smoothing=smoothing, time=time, motion=motion, first=first, calibrate=False)


def weakened(motion: ImplicitMotion, first: ImplicitMotion, strengths: Strengths) -> ImplicitMotion:
    """`motion` [F] with each part of its change since `first` [1] times its strength; unchanged at 1."""

    def part(then: Tensor, now: Tensor, strength: float) -> Tensor:
        return now if strength == 1 else then + strength * (now - then)

    pose, begin = motion.pose, first.pose
    changed = HeadPose(
        part(begin.angles, pose.angles, strengths.rotation),
        part(begin.translation, pose.translation, strengths.translation),
        part(begin.scale, pose.scale, strengths.scale),
    )
    names = "expression", "eyes", "lips"
    looks = {name: part(getattr(first, name), getattr(motion, name), strengths.expression) for name in names}
    return replace(motion, pose=changed, **looks)


def with_openness_of(motion: ImplicitMotion, other: ImplicitMotion | None) -> ImplicitMotion:
    """`motion` [1] with the openness of eyes and lips of `other` [1] where its own is not known."""
    if other is None:
        return motion
    eyes, lips = (torch.where(a.isfinite(), a, b) for a, b in ((motion.eyes, other.eyes), (motion.lips, other.lips)))
    return replace(motion, eyes=eyes, lips=lips)


def is_known(motion: ImplicitMotion, options: AnimationOptions) -> bool:
    """True if the openness that the options follow is known of `motion`."""
    followed = ((motion.eyes, options.eyes), (motion.lips, options.lips))
    return all(bool(ratios.isfinite().all()) for ratios, asked in followed if asked)


def _box(part: CutFrame) -> Tensor:
    crop = part.crop
    return torch.tensor([[crop.left, crop.top, crop.left + crop.size, crop.top + crop.size]])
