"""Runs `animate` and `motion` from files to a file: checks inputs first, keeps the frames made before an error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, field, replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

import torch
from tqdm import tqdm

from ..backends.personalive.motion import Strengths
from ..backends.personalive.reference import check_size, encode_reference
from ..backends.personalive.types import StreamConfig
from ..device import peak_memory, synchronize
from ..errors import InputError
from ..faces.crop import Box
from ..faces.paste import PasteOptions
from ..media.ahead import ENCODED_BEHIND, Behind
from ..media.files import check_written, refuse_reading, same_file
from ..media.picture import Picture, write_image
from ..media.still import PictureWriter
from ..media.write import VideoWriter, WriteOptions
from ..modules.fusion import Fusion
from ..text import plural
from .driving import DrivingClip, DrivingVideo, SavedMotion, Thumbnails, open_source
from .engine import Engine
from .pipeline import AnimatedFrame, AnimateOptions, animate_film_motion
from .portrait import Portrait, ReferenceFace, open_portrait
from .sharing import KEPT_NETWORKS, KEPT_REFERENCE, FilmMotion, Keep, make_anew
from .sheet import SheetCollector, contact_sheet

SHEET_SUFFIXES = (".png", ".jpg", ".jpeg")
BAR = "{desc} {n_fmt}/{total_fmt} frames |{bar:30}| {rate_noinv_fmt}, {remaining} left"

FrameWriter = VideoWriter | PictureWriter

_T = TypeVar("_T")


@dataclass(frozen=True)
class AnimationJob:
    """Everything that the user requests for one animation."""

    reference: Path
    clip: DrivingClip
    output: Path
    engine: Engine
    reference_box: Box | None = None  # the user's box of the face, in pixels
    reference_crop: Box | None = None  # the user's crop: the square itself, in pixels
    steps: int = 4
    seed: int = 0
    strengths: Strengths = field(default_factory=Strengths)
    paste: PasteOptions | None = None
    sheet: Path | None = None
    audio: bool = True
    lossless: bool = False
    label: bool = True
    mark: bool = False
    quiet: bool = False
    reference_face: str = "largest"  # which of several detected faces of the reference, see `choose_face`
    codec: str | None = None  # see WriteOptions
    crf: int | None = None
    crop_scale: float = 1.0  # larger: the square shows more around the reference's face
    history: int = 0  # see StreamConfig; experimental
    fusion: Fusion | None = None  # likewise

    @property
    def told(self) -> dict[str, str]:
        """What the result's metadata say of how it was made."""
        more = {"history": str(self.history)} if self.history else {}
        more |= {"fusion": ",".join(f"{scale:g}" for scale in astuple(self.fusion))} if self.fusion else {}
        return {"seed": str(self.seed), "steps": str(self.steps), **more}

    @property
    def config(self) -> StreamConfig:
        """The sampler's settings. Raises InputError for steps or a history that do not fit."""
        return replace(StreamConfig.of(self.steps), history=self.history, fusion=self.fusion)


class OnDevice(Protocol):
    """The engine of any system."""

    @property
    def device(self) -> torch.device: ...
    def require(self) -> None: ...


class ResultJob(Protocol):
    """What the job of every system says of its files."""

    @property
    def engine(self) -> OnDevice: ...
    @property
    def reference(self) -> Path: ...
    @property
    def clip(self) -> DrivingClip: ...
    @property
    def output(self) -> Path: ...
    @property
    def sheet(self) -> Path | None: ...
    @property
    def audio(self) -> bool: ...
    @property
    def lossless(self) -> bool: ...
    @property
    def label(self) -> bool: ...
    @property
    def mark(self) -> bool: ...
    @property
    def codec(self) -> str | None: ...
    @property
    def crf(self) -> int | None: ...
    @property
    def told(self) -> dict[str, str]: ...


@dataclass(frozen=True)
class Seconds:
    """Seconds spent in the parts of an animation."""

    load: float  # loading the networks
    reference: float  # encoding the portrait
    first_frame: float  # from reading the first driving frame until the first result
    animation: float  # from reading the first driving frame until the finished file
    total: float  # all of it, including opening the files


@dataclass(frozen=True)
class Summary:
    """Facts about a finished animation."""

    output: str
    sheet: str | None
    frames: int
    fps: float  # frames per second of `seconds.animation`
    keyframes: tuple[int, ...]  # driving frames that became historical keyframes
    filled: int  # frames whose face was missing
    size: tuple[int, int]  # width, height of the pictures; a file that is not lossless pads odd sides by a pixel
    seconds: Seconds
    peak_memory: int | None  # bytes: held on a CUDA device, else resident; None if the system gives no figure
    detector: str  # the face detector that was used, for the driving or the reference; "none" if none was


@dataclass(frozen=True, eq=False)
class FrameNotes:
    """Facts collected while frames are animated."""

    keyframes: tuple[int, ...] = ()
    filled: int = 0
    first_frame: float = 0.0  # seconds until the first frame was written
    collector: SheetCollector = SheetCollector()


def animate_to_file(job: AnimationJob, keep: Keep = make_anew, film: FilmMotion | None = None) -> Summary:
    """Animates a portrait; writes the video and, if `job.sheet` is set, the contact sheet.

    Wrong inputs are rejected before the networks load. Raises PersonaLiveError; then, as after Ctrl-C, the frames made
    so far are in a partial file next to the output, and an older output is unchanged. `keep` may hold networks and
    encoded references of earlier jobs; `film` is the driving's motion, if `read_film_motion` read it before.
    """
    began, engine = time.perf_counter(), job.engine
    check_files(job)
    check_size(engine.size)
    options = AnimateOptions(seed=job.seed, strengths=job.strengths, config=job.config)
    engine.require()
    source = open_source(job.clip, engine.size, engine.weights)
    face = ReferenceFace(job.clip.detector, job.reference_face, job.reference_box, job.reference_crop, job.crop_scale)
    portrait = open_portrait(job.reference, face, engine, job.paste)
    # load the networks, animate, write
    with VideoWriter(job.output, portrait.canvas, write_options(job, source)) as writer:
        model, loading = timed(lambda: keep(KEPT_NETWORKS, engine.load), engine.device)
        encode = partial(encode_reference, model, portrait.source, engine.size)
        reference, encoding = timed(lambda: keep(KEPT_REFERENCE, encode), engine.device)
        started, shown = time.perf_counter(), Thumbnails()
        if film is None or isinstance(source, SavedMotion):
            frames = source.animate(model, reference, options, shown if job.sheet else None)
        else:
            frames = animate_film_motion(model, reference, film, replace(options, motion=source.options))
        made = make(job, progress(frames, source.count, "animate", job.quiet), portrait, shown, writer)
    ended = time.perf_counter()
    seconds = Seconds(loading, encoding, made.first_frame, ended - started, ended - began)
    detector = portrait.detector if source.detector == "none" else source.detector
    summary = summary_of(job, (writer.frames, portrait.canvas), made, seconds, detector)
    if job.sheet:
        sheet = contact_sheet(portrait.picture, made.collector.rows(), sheet_title(job, summary))
        write_image(job.sheet, sheet, job.label)
    return summary


def summary_of(
    job: ResultJob, film: tuple[int, tuple[int, int]], made: FrameNotes, seconds: Seconds, detector: str
) -> Summary:
    """The facts about the finished `film` of so many frames of (width, height)."""
    return Summary(
        output=str(job.output),
        sheet=str(job.sheet) if job.sheet else None,
        frames=film[0],
        fps=film[0] / seconds.animation,
        keyframes=made.keyframes,
        filled=made.filled,
        size=film[1],
        seconds=seconds,
        peak_memory=peak_memory(job.engine.device),
        detector=detector,
    )


def make(
    job: ResultJob, frames: tqdm[AnimatedFrame], portrait: Portrait, shown: Thumbnails, writer: FrameWriter
) -> FrameNotes:
    """Writes each animated frame as soon as it is finished; returns the facts for the summary and the sheet."""
    began, made = time.perf_counter(), FrameNotes()
    write = Behind(partial(write_frame, portrait, writer), ENCODED_BEHIND)
    with frames as bar, write:  # the bar ends its line before any other output
        for frame in bar:
            write(frame.picture, frame.time, frame.duration)
            collector = made.collector
            if job.sheet:
                driving = shown.take(frame.index)  # None for a motion file: the portrait is shown instead
                driving = portrait.picture if driving is None else driving
                collector = collector.then(frame.index, driving, frame.picture, frame.keyframe, frame.time)
            made = FrameNotes(
                keyframes=(*made.keyframes, frame.index) if frame.keyframe else made.keyframes,
                filled=made.filled + (not frame.valid),
                first_frame=made.first_frame or time.perf_counter() - began,
                collector=collector,
            )
    return made


def write_frame(
    portrait: Portrait, writer: FrameWriter, picture: Picture, time: Fraction, duration: Fraction | None
) -> None:
    """Writes the animated `picture` [S, S, 3], pasted back into the portrait's picture if that is wanted."""
    writer.write(portrait.paste(picture) if portrait.paste else picture, time, duration)


def check_files(job: ResultJob) -> None:
    """Raises InputError if an output would overwrite an input, OutputError if the sheet cannot be written."""
    read = {"reference": job.reference, "driving": job.clip.path}
    refuse_reading(job.output, read)
    if job.sheet:
        if job.clip.path.is_dir() and same_file(job.sheet.parent, job.clip.path):
            raise InputError(f"{job.sheet} would become a driving picture: write the sheet to another folder")
        check_written(job.sheet, SHEET_SUFFIXES, read)


def write_options(job: ResultJob, source: DrivingVideo | SavedMotion) -> WriteOptions:
    """How the result of `job` is written; without `job.label` its metadata are empty."""
    details = job.told if job.label else {}
    audio = job.clip.path if job.audio and source.has_audio else None
    return WriteOptions(
        source.rate, audio, source.began, job.lossless, job.label, job.mark, details, job.codec, job.crf
    )


def progress(items: Iterable[_T], total: int | None, what: str, quiet: bool) -> tqdm[_T]:
    """Iterates over `items` with a progress bar on standard error: frames, frames per second, time left."""
    # smoothing 0 averages over all frames: they arrive window by window, so a recent rate would jump
    return tqdm(items, what, total, unit=" frames", disable=quiet, bar_format=BAR, smoothing=0)


def timed(call: Callable[[], _T], device: torch.device) -> tuple[_T, float]:
    """The result of `call`, and the seconds until `device` finished its work."""
    began = time.perf_counter()
    result = call()
    synchronize(device)
    return result, time.perf_counter() - began


def write_sheet(job: ResultJob, system: str, shown: Portrait, made: FrameNotes, summary: Summary) -> None:
    """Writes the contact sheet of another system's result, if it is wanted."""
    if job.sheet:
        title = f"{job.output.name}: {plural(summary.frames, 'frame')}, {system}, {summary.fps:.2f} frames/s"
        write_image(job.sheet, contact_sheet(shown.picture, made.collector.rows(), title), job.label)


def sheet_title(job: AnimationJob, summary: Summary) -> str:
    """The contact sheet's title: file, settings and results in one line."""
    return (
        f"{job.output.name}: {plural(summary.frames, 'frame')}, {job.engine.size} px, {job.steps} steps, "
        f"seed {job.seed}, {summary.fps:.2f} frames/s, {plural(len(summary.keyframes), 'keyframe')}, "
        f"{summary.filled} without a face"
    )
