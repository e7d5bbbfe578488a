"""Runs `animate` and `motion` with HunyuanPortrait, from files to a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from ..backends.hunyuan.backend import HunyuanBackend
from ..backends.hunyuan.crops import square_picture
from ..backends.hunyuan.model import HunyuanPortrait
from ..backends.hunyuan.motion import read_motion_of
from ..backends.hunyuan.motion_files import HUNYUAN_MOTION
from ..backends.hunyuan.reference import reference_square
from ..backends.hunyuan.stream import segment_count
from ..backends.hunyuan.types import HunyuanMotion, HunyuanReference, SamplingOptions, SegmentProgress
from ..backends.registry import HUNYUAN
from ..errors import InputError
from ..faces.crop import FaceDetector
from ..media.picture import Picture
from ..media.video import Frame
from ..media.write import VideoWriter
from ..motion.gaps import fill_missing
from ..motion.types import concat_motion
from .driving import (
    DrivingClip,
    DrivingVideo,
    SavedMotion,
    Thumbnails,
    always_found,
    find_detector,
    is_motion,
    noted_frames,
    noted_motion,
    open_driving,
    open_motion,
    read_smoothed,
)
from .extracting import OpenedFilm, extract_film
from .hunyuan_engine import HunyuanEngine
from .job import Seconds, Summary, check_files, make, progress, summary_of, timed, write_options, write_sheet
from .pipeline import AnimatedFrame
from .portrait import Portrait, read_portrait
from .sharing import KEPT_NETWORKS, KEPT_REFERENCE, FilmMotion, FrameTime, Keep, make_anew


@dataclass(frozen=True)
class HunyuanJob:
    """Everything that the user requests for one animation with HunyuanPortrait."""

    reference: Path
    clip: DrivingClip
    output: Path
    engine: HunyuanEngine
    sampling: SamplingOptions = SamplingOptions()
    seed: int = 0
    paste: str = "square"  # one of PASTES
    sheet: Path | None = None
    audio: bool = True
    lossless: bool = False
    label: bool = True
    mark: bool = False
    quiet: bool = False
    codec: str | None = None
    crf: int | None = None
    reference_face: str = "largest"  # the reference's, see `choose_face`; the driving's is the clip's

    @property
    def told(self) -> dict[str, str]:
        """What the result's metadata say of how it was made."""
        return {"system": HUNYUAN, "seed": str(self.seed), "steps": str(self.sampling.steps), "paste": self.paste}


@dataclass(frozen=True, eq=False)
class _Opened:
    """Driving and reference, opened without the networks."""

    driving: DrivingVideo | SavedMotion
    picture: Picture  # [H, W, 3] the reference
    detector: FaceDetector
    shown: Portrait


def animate_hunyuan(job: HunyuanJob, keep: Keep = make_anew, read: FilmMotion | None = None) -> Summary:
    """Animates a portrait; writes the video and, if `job.sheet` is set, the contact sheet.

    Wrong inputs are rejected before the networks load. Raises PersonaLiveError; then, as after Ctrl-C, the frames made
    so far are in a partial file next to the output, and an older output is unchanged. `keep` may hold networks and
    references of earlier jobs; `read` is the driving's motion, if `read_hunyuan_motion` read it before.
    """
    began, engine = time.perf_counter(), job.engine
    check_files(job)
    engine.require()
    opened, pictures = _open(job), Thumbnails()
    with VideoWriter(job.output, opened.shown.canvas, write_options(job, opened.driving)) as writer:
        model, loading = timed(lambda: keep(KEPT_NETWORKS, engine.load), engine.device)
        backend = HunyuanBackend(model, opened.detector, job.sampling, engine.size, job.seed, job.paste)
        backend = backend.changed(face=job.reference_face, driving_face=job.clip.choice)
        encode = partial(backend.portrait, opened.picture)
        reference, encoding = timed(lambda: keep(KEPT_REFERENCE, encode), engine.device)
        started = time.perf_counter()
        work = _Work(job, opened, backend, pictures if job.sheet else None, read)
        made = make(job, work.bar(reference), opened.shown, pictures, writer)
    ended = time.perf_counter()
    seconds = Seconds(loading, encoding, made.first_frame, ended - started, ended - began)
    summary = summary_of(job, (writer.frames, opened.shown.canvas), made, seconds, always_found(job.clip.detector))
    write_sheet(job, "HunyuanPortrait", opened.shown, made, summary)
    return summary


def extract_hunyuan(clip: DrivingClip, engine: HunyuanEngine, output: Path, quiet: bool) -> HunyuanMotion:
    """Extracts the motion of `clip`'s frames and writes it, with their times, to the motion file `output`.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """

    def opened() -> OpenedFilm[HunyuanMotion]:
        video = open_hunyuan_film(clip, engine)
        return video, lambda model, frames: fill_missing(gappy_hunyuan(model, video, frames, engine.size), clip.missing)

    return extract_film(HUNYUAN_MOTION, clip, engine, opened, output, quiet)


def _open(job: HunyuanJob) -> _Opened:
    """Raises InputError for a bad file, FaceError if the reference shows no face, WeightsError without a detector."""
    clip, engine = job.clip, job.engine
    driving = open_motion(clip, HUNYUAN_MOTION) if is_motion(clip.path) else open_hunyuan_film(clip, engine)
    picture = read_portrait(job.reference)
    detector = five_points_of(find_detector(always_found(clip.detector), picture, engine.weights))
    crop = square_picture(picture, reference_square(picture, detector, job.reference_face), engine.size)
    height, width = (engine.size, engine.size) if job.paste == "square" else picture.shape[:2]
    return _Opened(driving, picture, detector, Portrait(crop, crop, None, (width, height)))


def open_hunyuan_film(clip: DrivingClip, engine: HunyuanEngine) -> DrivingVideo:
    """Opens a driving film, in which faces are looked for. Raises as `open_driving` and `five_points_of` do."""
    film = open_driving(replace(clip, detector=always_found(clip.detector)), engine.size, engine.weights)
    five_points_of(film.options.detector)  # refused before the networks load
    return film


def gappy_hunyuan(
    model: HunyuanPortrait, video: DrivingVideo, frames: Iterable[Frame], side: int
) -> Iterator[HunyuanMotion]:
    """The motion of the frames of `video`, whose chosen face is followed; smoothed, not filled."""
    options = video.options
    detector = five_points_of(options.detector)
    own = partial(read_motion_of, model, detector=detector, side=side, choice=options.track.choice)
    return read_smoothed(frames, own, options.smoothing)


def five_points_of(detector: FaceDetector | None) -> FaceDetector:
    """The detector. Raises InputError if there is to be none."""
    if detector is None:
        raise InputError(
            "HunyuanPortrait cuts its pictures out around five points of the face: leave --detector out, or name yunet"
        )
    return detector


@dataclass(frozen=True, eq=False)
class _Work:
    """One job at work, with loaded networks."""

    job: HunyuanJob
    opened: _Opened
    backend: HunyuanBackend
    shown: Thumbnails | None  # gets the driving's pictures
    read: FilmMotion | None = None  # the driving film's motion, if it was read before

    def bar(self, reference: HunyuanReference) -> tqdm[AnimatedFrame]:
        """The animated frames; the bar also says which segment and step is at work."""
        bars: list[tqdm[AnimatedFrame]] = []
        count, sampling = self.opened.driving.count, self.job.sampling
        parts = "" if count is None else f"/{segment_count(count, sampling.segments)}"

        def told(done: SegmentProgress) -> None:
            step = done.calls * sampling.steps // done.total
            for bar in bars:
                bar.set_description_str(f"animate, segment {done.segment + 1}{parts}, step {step}/{sampling.steps}:")

        frames = self.frames(self.backend.changed(told=told), reference)
        bars.append(progress(frames, count, "animate", self.job.quiet))
        return bars[0]

    def frames(self, backend: HunyuanBackend, reference: HunyuanReference) -> Iterator[AnimatedFrame]:
        """One animated frame for each of the driving's, at its time."""
        times: deque[FrameTime] = deque()
        valid: deque[bool] = deque()

        def filled() -> Iterator[HunyuanMotion]:
            for part in self.motions(backend, times):
                valid.extend(part.valid.tolist())
                yield part.changed(valid=torch.ones_like(part.valid))  # filled as the user chose, not again

        for index, picture in enumerate(backend.animate(reference, filled())):
            at, duration = times.popleft()
            yield AnimatedFrame(index, at, picture, keyframe=False, valid=valid.popleft(), duration=duration)

    def motions(self, backend: HunyuanBackend, times: deque[FrameTime]) -> Iterator[HunyuanMotion]:
        """The driving's motion in pieces, without gaps; notes when its frames are, and their pictures."""
        clip, driving = self.job.clip, self.opened.driving
        if isinstance(driving, SavedMotion):
            yield noted_motion(HUNYUAN_MOTION, clip, times)
            return
        own = backend.changed(driving_face=backend.face)  # the reference's motion is its own face's
        neutral = concat_motion(own.read([self.opened.picture])) if clip.missing == "neutral" else None
        if self.read is not None:
            times.extend(self.read.times)
            yield from fill_missing(self.read.pieces(HunyuanMotion), clip.missing, neutral)
            return
        with closing(driving.read()) as frames:
            noted = noted_frames(frames, times, self.shown)
            read = read_smoothed(noted, backend.read, driving.options.smoothing)
            yield from fill_missing(read, clip.missing, neutral)
