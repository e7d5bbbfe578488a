"""The animate command's work: files in, a finished video out, with everything that can go wrong said in a sentence."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from .detectors import make_detector
from .errors import FaceError, InputError, WeightsError
from .face import Box, Crop, FaceDetector, choose_face, crop_image, portrait_crop, square_around, whole_frame
from .loader import load_model
from .model import PersonaLive
from .motion import Strengths
from .paste import PasteBack, PasteOptions, prepare_paste
from .picture import read_image, write_image
from .pipeline import AnimatedFrame, AnimateOptions, MotionOptions, animate, animate_motion
from .reference import check_size, encode_reference
from .sheet import SheetCollector, contact_sheet, thumbnail
from .smoothing import OneEuroOptions
from .storage import load_motion, motion_details
from .tracking import TrackOptions
from .types import Reference, StreamConfig
from .video import Frame, probe, read_frames
from .video_write import VideoWriter, WriteOptions
from .weights import locate

MOTION_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Faces:
    """Where the faces are: of the reference and of the driving."""

    detector: str = "auto"  # auto: none for square pictures, yunet for others
    choice: str = "largest"
    reference_box: Box | None = None
    driving_box: Box | None = None


@dataclass(frozen=True)
class Job:
    """One animation, as the user asked for it."""

    reference: Path
    driving: Path  # video, picture folder, or a motion file
    output: Path
    weights: Path
    device: torch.device
    precision: torch.dtype
    decoder: str = "full"
    size: int = 512
    steps: int = 4
    seed: int = 0
    start: float = 0.0
    count: int | None = None
    rate: Fraction | None = None
    missing: str = "hold"
    smooth: float | None = None  # One-Euro minimum cutoff in Hz
    faces: Faces = field(default_factory=Faces)
    strengths: Strengths = field(default_factory=Strengths)
    paste: PasteOptions | None = None
    sheet: Path | None = None
    audio: bool = True
    lossless: bool = False
    label: bool = True
    mark: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Summary:
    """What a finished animation was like."""

    output: str
    frames: int
    seconds: float  # of work, loading left out
    first_frame_seconds: float
    load_seconds: float
    keyframes: tuple[int, ...]  # driving frames that became historical keyframes
    filled: int  # frames whose face was missing
    size: tuple[int, int]  # width, height in pixels

    @property
    def rate(self) -> float:
        return self.frames / max(self.seconds, 1e-9)


def detector_for(name: str, frame: np.ndarray, weights: Path) -> FaceDetector | None:
    """The detector for pictures shaped like `frame` [H, W, 3]; None: the whole frame is the portrait."""
    if name == "none" or (name == "auto" and frame.shape[0] == frame.shape[1]):
        return None
    name = "yunet" if name == "auto" else name
    if name != "yunet":
        return make_detector(name, None)
    index = locate(weights)
    if index.missing(("yunet",)):
        raise WeightsError(
            f"a {frame.shape[1]}x{frame.shape[0]} frame needs a face detector and YuNet is not in {weights}: "
            "run `personalive download --detector`, or give --detector haar, --detector none or a face box"
        )
    return make_detector("yunet", index.path("yunet"))


def reference_crop(portrait: np.ndarray, faces: Faces, weights: Path) -> Crop:
    """The square of the reference picture [H, W, 3] that is animated."""
    if faces.reference_box is not None:
        return square_around(faces.reference_box)
    detector = detector_for(faces.detector, portrait, weights)
    if detector is None:
        return whole_frame(portrait.shape[:2])
    face = choose_face(detector(portrait), faces.choice, None)
    if face is None:
        raise FaceError(
            "no face in the reference picture: give --reference-box, another --detector, or --detector none"
        )
    return portrait_crop(face.box, portrait.shape[:2])


def read_portrait(path: Path) -> np.ndarray:
    """A picture, or the first frame of a video: [H, W, 3] uint8."""
    if path.suffix.lower() in {".mp4", ".mov", ".mkv", ".webm"}:
        return next(read_frames(path, count=1)).image
    return read_image(path)


def motion_options(job: Job, frame: np.ndarray, rate: Fraction) -> MotionOptions:
    """How the driving of `job` becomes motion; `frame` is its first."""
    manual = job.faces.driving_box
    return MotionOptions(
        size=job.size,
        detector=None if manual else detector_for(job.faces.detector, frame, job.weights),
        track=TrackOptions(choice=job.faces.choice, manual=manual),
        missing=job.missing,
        smoothing=OneEuroOptions(rate=float(rate), min_cutoff=job.smooth, beta=0.05) if job.smooth else None,
    )


@dataclass(frozen=True)
class Prepared:
    """All that is known before the first step."""

    model: PersonaLive
    reference: Reference
    portrait: np.ndarray  # [S, S, 3] uint8, as the networks see it
    paste: PasteBack | None
    canvas: tuple[int, int]  # width, height of the result
    load_seconds: float


def prepare(job: Job) -> Prepared:
    """Reads the reference and loads the networks: every mistake in what the user gave shows before any work is done."""
    check_size(job.size)
    portrait = read_portrait(job.reference)
    crop = reference_crop(portrait, job.faces, job.weights)
    picture = crop_image(portrait, crop, job.size)
    began = time.perf_counter()
    model = load_model(job.weights, job.device, job.precision, job.decoder)
    loaded = time.perf_counter() - began
    # at full resolution where the whole picture is the portrait: one resize less
    source = crop_image(portrait, crop, round(crop.size)) if crop.size > job.size else picture
    reference = encode_reference(model, source, job.size)
    paste = prepare_paste(portrait, crop, job.size, job.paste) if job.paste else None
    canvas = portrait.shape[1::-1] if paste else (job.size, job.size)
    return Prepared(model, reference, picture, paste, (canvas[0], canvas[1]), loaded)


def run(job: Job) -> Summary:
    """Animates, writes the video and, where asked for, the contact sheet."""
    source = Motion(job) if job.driving.suffix.lower() == MOTION_SUFFIX else Driving(job)
    details = {"seed": str(job.seed), "steps": str(job.steps), "reference": job.reference.name}
    audio = job.driving if job.audio and source.has_audio else None
    options = WriteOptions(source.rate, audio, job.start, job.lossless, job.label, job.mark, details)
    ready = prepare(job)
    began, first = time.perf_counter(), 0.0
    collector, keyframes, filled = SheetCollector(), [], 0
    with VideoWriter(job.output, ready.canvas, options) as writer:
        bar = tqdm(source.frames(ready), total=source.count, unit="frame", disable=job.quiet, desc="animate")
        for frame, driving in bar:
            first = first or time.perf_counter() - began
            picture = ready.paste(frame.picture) if ready.paste else frame.picture
            writer.write(picture, frame.time)
            keyframes += [frame.index] if frame.keyframe else []
            filled += not frame.valid
            if job.sheet:
                collector = collector.then(frame.index, driving, frame.picture, frame.keyframe)
    seconds = time.perf_counter() - began
    summary = Summary(
        str(job.output), writer.frames, seconds, first, ready.load_seconds, tuple(keyframes), filled, ready.canvas
    )
    if job.sheet:
        write_image(job.sheet, draw_sheet(job, ready, collector, summary, source.rate), job.label)
    return summary


def draw_sheet(job: Job, ready: Prepared, collector: SheetCollector, summary: Summary, rate: Fraction) -> np.ndarray:
    """The contact sheet of a finished run."""
    title = (
        f"{job.output.name}: {summary.frames} frames, {job.size} px, {job.steps} steps, seed {job.seed}, "
        f"{summary.rate:.2f} frames/s, {len(summary.keyframes)} keyframes, {summary.filled} without a face"
    )
    return contact_sheet(ready.portrait, collector.rows(), title, float(rate))


class Driving:
    """A driving video as the source of an animation."""

    def __init__(self, job: Job) -> None:
        self.job, info = job, probe(job.driving)
        self.rate = job.rate or info.rate
        self.has_audio = info.has_audio
        left = None if info.duration is None else max(round((info.duration - Fraction(job.start)) * self.rate), 1)
        known = [count for count in (job.count, left) if count is not None]
        self.count = min(known) if known else None
        first = next(self._read(1), None)
        if first is None:
            raise InputError(f"{job.driving.name} has no frame at {job.start:g} s: start earlier")
        self.first = first.image

    def frames(self, ready: Prepared) -> Iterator[tuple[AnimatedFrame, np.ndarray]]:
        """Each animated frame beside its driving frame, small if the sheet wants it, else empty."""
        job, shown = self.job, deque[np.ndarray]()

        def noted() -> Iterator[Frame]:
            for frame in self._read(job.count):
                shown.append(thumbnail(frame.image) if job.sheet else frame.image[:0])
                yield frame

        options = animate_options(job, motion_options(job, self.first, self.rate))
        for frame in animate(ready.model, ready.reference, noted(), options):
            yield frame, shown.popleft()

    def _read(self, count: int | None) -> Iterator[Frame]:
        return read_frames(self.job.driving, self.job.start, count, self.job.rate)


class Motion:
    """A motion file as the source of an animation."""

    has_audio = False

    def __init__(self, job: Job) -> None:
        self.job, self.motion = job, load_motion(job.driving)[: job.count]
        self.rate = job.rate or Fraction(motion_details(job.driving).get("rate", "25"))
        self.count = len(self.motion)

    def frames(self, ready: Prepared) -> Iterator[tuple[AnimatedFrame, np.ndarray]]:
        """Each animated frame; there is no driving picture, so the reference stands for it."""
        options = animate_options(self.job, MotionOptions(size=self.job.size))
        for frame in animate_motion(ready.model, ready.reference, [self.motion], options):
            yield replace(frame, time=frame.index / self.rate), ready.portrait


def animate_options(job: Job, motion: MotionOptions) -> AnimateOptions:
    """The pipeline's options of `job`."""
    try:
        config = StreamConfig.of(job.steps)
    except ValueError as error:
        raise InputError(f"--steps: {error}") from error
    return AnimateOptions(seed=job.seed, motion=motion, strengths=job.strengths, config=config)
