"""PersonaLive as a performer: reads driving frames, fits their motion to the reference, takes a step of the stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import Strengths, extract_motion, lead_in, retarget
from ..backends.personalive.pictures import Lane
from ..backends.personalive.reference import encode_reference
from ..backends.personalive.sampling import StreamingSampler, at_hand
from ..backends.personalive.stream import Emitted, advance
from ..backends.personalive.types import LATENT_PIXELS, STREAM, KeyframeBank, Reference, StreamConfig, StreamState
from ..errors import FaceError
from ..faces.crop import FaceDetector, FrameSize, Patch, crop_found, crop_image
from ..faces.detectors import used_detector
from ..faces.resize import resized_patches
from ..faces.tracking import TrackOptions, TrackState, cut_next
from ..media.picture import Picture
from ..modules.schedule import seeded_noise
from ..motion.smoothing import OneEuroState, pose_smoothing, smooth_next
from ..motion.types import HeadPose, HybridMotion, concat_motion
from .quick import FittedMoment, evenly
from .types import QUALITY, Captured, Made, Performed, Settings


@dataclass(frozen=True, eq=False)
class Driven:
    """The motion of one driving frame, not yet fitted: that of the last face where there is none."""

    number: int
    time: float
    found: bool  # its own face was found
    motion: HybridMotion | None = None  # [1]; None: there was no face yet, and the reference is at rest
    first: HeadPose | None = None  # [1] the neutral pose


@dataclass(frozen=True, eq=False)
class LiveState:
    """Everything between two steps. A state of another reference goes on with its driving, and begins a new stream."""

    stream: StreamState | None = None
    reference: Reference | None = None  # of the stream
    flight: tuple[FittedMoment, ...] = ()  # driving whose pictures are not finished
    windows: int = 0  # finished
    track: TrackState | None = None
    tracked: tuple[FrameSize, str] | None = None  # the frame size and the choice of face that `track` is for
    smoothing: OneEuroState | None = None
    last: Driven | None = None
    calibrate: bool = True  # the next face's pose is the neutral one


@dataclass(frozen=True, eq=False)
class PersonaLivePerformer:
    """PersonaLive with one reference, for `LiveSession`."""

    model: PersonaLive
    reference: Reference  # on the model's device
    portrait: Picture  # [S, S, 3] what the reference shows
    detector: FaceDetector | None = None  # None: the centred square of a frame is the portrait
    config: StreamConfig = STREAM
    seed: int = 0
    keyframes: KeyframeBank | None = None  # the first bank, with fixed keyframes; None: the reference alone
    encoder: PersonaLive | None = None  # reads further references; None: `model`

    @property
    def window(self) -> int:
        """Frames of a step."""
        return self.config.window

    @property
    def size(self) -> int:
        """Pixels a side of the result."""
        return self.reference.latent.shape[-1] * LATENT_PIXELS

    def begin(self) -> LiveState:
        """The state before the first step."""
        return LiveState()

    def calibrated(self, state: LiveState) -> LiveState:
        """The state from which the next face's pose is the neutral one."""
        return replace(state, calibrate=True)

    def with_reference(self, picture: Picture) -> PersonaLivePerformer:
        """The same with another reference, see `read_reference`; fixed keyframes show the one before and stay away."""
        reference, portrait = read_reference(self.encoder or self.model, picture, self.size, self.detector)
        reference = reference.to(self.model.device, self.model.dtype)
        return replace(self, reference=reference, portrait=portrait, keyframes=None)

    def perform(self, state: LiveState, frames: Sequence[Captured], settings: Settings) -> Performed:
        """One step over the new driving frames; the motion of other than W frames is interpolated.

        Raises NumericalError for NaN or only black pictures, and what the device raises; never for a missing face.
        """
        with torch.inference_mode():
            before = state.last
            state, driven, faces = self._read(state, frames, settings)
            fitted = tuple(self._fit(one, settings.strengths) for one in driven)
            if settings.mode != QUALITY or len(fitted) != self.window:
                last = None if before is None else self._fit(before, settings.strengths)
                fitted = evenly(last, fitted, self.window, self.reference.canonical)
            state, emitted = self._draw(state, fitted)
        made, flight = state.flight[: len(emitted.pictures)], state.flight[len(emitted.pictures) :]
        results = tuple(
            Made(
                picture,
                shown.number,
                shown.time,
                state.windows,
                valid=bool(shown.motion.valid),
                keyframe=emitted.keyframe is not None and index == 0,
                novelty=emitted.novelty,
            )
            for index, (picture, shown) in enumerate(zip(emitted.pictures, made, strict=True))
        )
        keyframes = sum(chunk >= 0 for chunk in emitted.state.keyframes.chunks)
        after = replace(state, flight=flight, windows=state.windows + bool(results))
        return Performed(after, results, faces, driven[-1].found, keyframes)

    def _read(
        self, state: LiveState, frames: Sequence[Captured], settings: Settings
    ) -> tuple[LiveState, tuple[Driven, ...], int]:
        """The motion of the frames, and how many faces the newest shows."""
        patches: list[Patch] = []
        found: list[bool] = []
        faces = None
        for frame in frames:
            tracked = frame.picture.shape[:2], settings.face
            track = state.track if tracked == state.tracked else None
            faces = self.detector(frame.picture) if self.detector else None
            track, part = cut_next(track, frame.picture, faces, TrackOptions(choice=settings.face))
            state = replace(state, track=track, tracked=tracked)
            patches, found = [*patches, part.patch], [*found, part.found]
        motion = extract_motion(self.model, resized_patches(self._filled(patches), self.size, self.model.device))
        driven: list[Driven] = []
        for index, frame in enumerate(frames):
            seen = motion[index : index + 1]
            state, one = follow(state, frame, replace(seen, valid=seen.valid & found[index]), settings.smoothing)
            driven.append(one)
        return state, tuple(driven), 1 if faces is None else len(faces)

    def _filled(self, patches: list[Patch]) -> list[Patch]:
        """As many as a window where networks are prepared for one shape: the last is repeated, its motion not used."""
        return patches if self.model.run is None else [*patches, *[patches[-1]] * (self.window - len(patches))]

    def _fit(self, driven: Driven, strengths: Strengths) -> FittedMoment:
        if driven.motion is None or driven.first is None:
            motion = self.reference.motion
        else:
            motion = retarget(driven.motion, self.reference, driven.first, strengths)
        return FittedMoment(replace(motion, valid=torch.tensor([driven.found])), driven.number, driven.time)

    def _draw(self, state: LiveState, moments: Sequence[FittedMoment]) -> tuple[LiveState, Emitted]:
        """The next step of the stream over W moments; a new reference is led in from its own pose."""
        model, reference, config = self.model, self.reference, self.config
        sampler = StreamingSampler(model, reference, seeded_noise(self.seed), config)
        stream, flight = state.stream, state.flight
        if stream is None or state.reference is not reference:
            lead = lead_in(reference, moments[0].motion, config.lookahead)
            stream, flight = at_hand(sampler.start(model.embed_motion(lead, self.size), self.keyframes)), ()
        features = model.embed_motion(concat_motion([moment.motion for moment in moments]), self.size)
        stream, result = advance(model, sampler, stream, features, Lane())
        return replace(state, stream=stream, reference=reference, flight=(*flight, *moments)), result()


def follow(state: LiveState, frame: Captured, motion: HybridMotion, cutoff: float | None) -> tuple[LiveState, Driven]:
    """The driving after one more frame whose own `motion` [1] was read: smoothed, or that of the last face."""
    last, smoothing = state.last, state.smoothing
    step = 0.0 if last is None else frame.time - last.time
    options = pose_smoothing(1 / step if step > 0 else 1.0, cutoff)
    if options is None or step <= 0:
        smoothing = None
    if options is not None:
        smoothing, motion = smooth_next(smoothing, motion, options)
    found, held, first = bool(motion.valid), last.motion if last else None, last.first if last else None
    if found:
        held, first = motion, motion.pose if state.calibrate or first is None else first
    driven = Driven(frame.number, frame.time, found, held, first)
    return replace(state, smoothing=smoothing, last=driven, calibrate=state.calibrate and not found), driven


def read_reference(
    model: PersonaLive, picture: Picture, size: int, detector: FaceDetector | None
) -> tuple[Reference, Picture]:
    """Reads any picture [H, W, 3] as a reference of `size` pixels a side; also what is shown of it, [S, S, 3].

    A square picture is taken whole, of others the square around the largest face; the centred one without a detector.
    Raises FaceError if there is no face.
    """
    faces = detector(picture) if detector and used_detector("auto", picture) != "none" else None
    crop = crop_found(faces, "largest", picture.shape[:2])
    if crop is None:
        raise FaceError("no face was found in the new portrait: use a picture with one clear face")
    portrait = crop_image(picture, crop, size)
    # full resolution: the picture is resized only once, for each network's own input size
    source = crop_image(picture, crop, round(crop.size)) if crop.size > size else portrait
    return encode_reference(model, source, size), portrait
