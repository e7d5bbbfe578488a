"""Animates a portrait or a source video with LivePortrait, from files to a file."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path

from ..backends.liveportrait.animation import AnimationOptions
from ..backends.liveportrait.crops import SIDE, limited
from ..backends.liveportrait.driving import DrivingFaces
from ..backends.liveportrait.finding import Finder, FoundFace
from ..backends.liveportrait.kj_modes import check_kj
from ..backends.liveportrait.landmarker import open_landmarker
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.motion_files import IMPLICIT
from ..backends.liveportrait.portrait import SourceFilm, SourcePortrait, prepare_source, read_film, source_crop
from ..backends.liveportrait.stream import (
    RenderedFrame,
    RenderOptions,
    animate_film,
    animate_portrait,
    check_openness,
    film_keypoints,
)
from ..backends.liveportrait.types import ImplicitMotion
from ..errors import InputError
from ..media.ahead import ahead
from ..media.picture import Picture
from ..media.still import RESULT_PICTURES, PictureWriter
from ..media.video import Frame, probe, read_frames
from ..media.write import VideoWriter, WriteOptions
from ..motion.gaps import fill_missing
from ..motion.types import concat_motion
from .driving import (
    DECODED_AHEAD,
    DrivingClip,
    DrivingVideo,
    SavedMotion,
    Thumbnails,
    is_motion,
    noted_frames,
    noted_motion,
    open_motion,
)
from .implicit_job import FilmDriving, SourceFace, film_finder, find_source, gives_picture, is_film, is_still, open_film
from .job import Seconds, Summary, check_files, make, progress, summary_of, timed, write_options, write_sheet
from .liveportrait_engine import LivePortraitEngine
from .pipeline import AnimatedFrame
from .portrait import Portrait, read_portrait
from .sharing import KEPT_NETWORKS, KEPT_REFERENCE, FilmMotion, Keep, make_anew


@dataclass(frozen=True)
class ImplicitJob:
    """Everything that the user requests for one animation with LivePortrait."""

    reference: Path  # a picture, or a source video, whose every frame is animated
    clip: DrivingClip
    output: Path
    engine: LivePortraitEngine
    face: SourceFace = field(default_factory=SourceFace)
    animation: AnimationOptions = field(default_factory=AnimationOptions)
    paste: bool = False
    sheet: Path | None = None
    audio: bool = True
    lossless: bool = False
    label: bool = True
    mark: bool = False
    quiet: bool = False
    codec: str | None = None
    crf: int | None = None

    @property
    def told(self) -> dict[str, str]:
        """What the result's metadata say of how it was made."""
        how = self.animation
        return {"system": "liveportrait", "mode": how.kj or how.transfer.mode, "region": how.transfer.region}


@dataclass(frozen=True, eq=False)
class _Source:
    """The reference, opened: its first picture, and how its face is found."""

    picture: Picture  # [H, W, 3]
    found: FoundFace | None = None
    finder: Finder | None = None  # of a source video


@dataclass(frozen=True, eq=False)
class _Driving:
    """The driving, opened: a film or picture, or a motion file."""

    facts: DrivingVideo | SavedMotion
    film: FilmDriving | None = None  # None: a motion file
    is_still: bool = False  # one picture, or a motion file of one frame
    faces: DrivingFaces = field(default_factory=DrivingFaces)  # of the film, found in a first pass

    def looked_at(self, quiet: bool) -> _Driving:
        """The same with its faces: they are found without the networks. Raises FaceError if there are none."""
        return self if self.film is None else replace(self, faces=self.film.faces(quiet))


def animate_implicit(job: ImplicitJob, keep: Keep = make_anew, read: FilmMotion | None = None) -> Summary:
    """Animates a portrait, or a source video; writes the video and, if `job.sheet` is set, the contact sheet.

    A portrait that one picture drives gives a picture. Wrong inputs, and a driving without a face, are rejected before
    the networks load. Raises PersonaLiveError; then the frames made so far are in a partial file next to the output,
    and an older output is unchanged. `keep` may hold networks and references of earlier jobs; `read` is the driving's
    motion, if `read_implicit_motion` read it before.
    """
    began, engine = time.perf_counter(), job.engine
    check_files(job)
    engine.require()
    (driving, source), pictures = open_job(job), Thumbnails()
    shown = shown_portrait(job, source)
    options = RenderOptions(job.animation, engine.subject == "animal", driving.is_still, job.paste)
    with open_result(job, driving, shown.canvas) as writer:
        driving = driving if read else driving.looked_at(job.quiet)
        model, loading = timed(lambda: keep(KEPT_NETWORKS, engine.load), engine.device)
        work = _Work(job, driving, options, pictures if job.sheet else None, read)
        ready, encoding = timed(lambda: keep(KEPT_REFERENCE, lambda: work.ready(model, source)), engine.device)
        started = time.perf_counter()
        frames = work.film(model, ready) if isinstance(ready, SourceFilm) else work.portrait(model, ready)
        made = make(job, progress(frames, work.count(ready), "animate", job.quiet), shown, pictures, writer)
    ended = time.perf_counter()
    seconds = Seconds(loading, encoding, made.first_frame, ended - started, ended - began)
    summary = summary_of(job, (writer.frames, shown.canvas), made, seconds, driving.facts.detector)
    write_sheet(job, "LivePortrait", shown, made, summary)
    return summary


def shown_portrait(job: ImplicitJob, source: _Source) -> Portrait:
    """The source's crop, as the contact sheet shows it, with the size of the result."""
    crop = source_crop(source.picture, source.found, job.face.rule).picture
    height, width = source.picture.shape[:2] if job.paste else (SIDE, SIDE)
    return Portrait(crop, crop, None, (width, height))


def open_job(job: ImplicitJob) -> tuple[_Driving, _Source]:
    """Opens driving and reference. Raises InputError for a KJ mode that they do not have, and as the two below do."""
    driving, source = open_job_driving(job), open_job_source(job)
    check_kj(job.animation.kj, source.finder is not None, driving.is_still)
    return driving, source


def open_job_driving(job: ImplicitJob) -> _Driving:
    """Opens the driving. Raises InputError for a bad file, or for the motion of another system."""
    path = job.clip.path
    if is_motion(path):
        whole = open_motion(replace(job.clip, start=0.0, count=None), IMPLICIT)
        return _Driving(open_motion(job.clip, IMPLICIT), is_still=whole.count == 1)
    film = open_film(job.clip, job.engine.weights)
    return _Driving(film.video, film, is_still(path))


def open_job_source(job: ImplicitJob) -> _Source:
    """Opens the reference and looks for its face. Raises as `find_source` and `film_finder` do."""
    whole, weights = read_portrait(job.reference), job.engine.weights
    picture, face = limited(whole, job.face.limit), job.face.resized(whole.shape[:2])
    landmarks = None if job.engine.subject == "animal" else open_landmarker(weights)  # it knows people alone
    if is_film(job.reference):
        return _Source(picture, None, film_finder(face, picture, weights, landmarks))
    return _Source(picture, find_source(picture, face, weights, landmarks))


def open_result(job: ImplicitJob, driving: _Driving, size: tuple[int, int]) -> VideoWriter | PictureWriter:
    """Opens the file of the result, of this width and height.

    Raises InputError if a portrait and a driving picture are to give a film, otherwise as the writers do.
    """
    if not gives_picture(job.reference, job.clip.path):
        return VideoWriter(job.output, size, job_write_options(job, driving))
    if job.output.suffix.lower() not in RESULT_PICTURES:
        raise InputError(
            f"a driving picture gives one picture, expected a name that ends with {' or '.join(RESULT_PICTURES)}, got "
            f"{job.output.name}: rename --output, or give a film as the driving"
        )
    if job.codec is not None or job.crf is not None:
        raise InputError("a driving picture gives one picture, which has no codec: leave --codec and --crf out")
    return PictureWriter(job.output, job.label, job.mark, job.told if job.label else {})


def job_write_options(job: ImplicitJob, driving: _Driving) -> WriteOptions:
    """How the result is written: a source video keeps its own rate, and its sound if the driving has none."""
    options = write_options(job, driving.facts)
    if not is_film(job.reference):
        return options
    info = probe(job.reference)
    if job.audio and options.audio is None and info.has_audio:
        options = replace(options, audio=job.reference, audio_start=0)
    return replace(options, rate=info.rate)


@dataclass(frozen=True, eq=False)
class _Work:
    """One job at work, with loaded networks."""

    job: ImplicitJob
    driving: _Driving
    options: RenderOptions
    shown: Thumbnails | None  # gets the driving's pictures
    read: FilmMotion | None = None  # the driving film's motion, if it was read before

    def ready(self, model: LivePortrait, source: _Source) -> SourcePortrait | SourceFilm:
        """Reads the reference: a picture, or a source video in a first pass."""
        if source.finder is None:
            found = prepare_source(model, source.picture, source.found, self.job.face.rule)
            check_openness(found.source.motion, self.options.animation)
            return found
        with closing(self._source_frames()) as frames:
            return read_film(model, (frame.image for frame in frames), source.finder, self.job.face.rule)

    def count(self, ready: SourcePortrait | SourceFilm) -> int | None:
        """About how many frames the result has, for the progress bar."""
        count = self.driving.facts.count
        if isinstance(ready, SourceFilm):
            return len(ready) if count is None or self.driving.is_still else min(count, len(ready))
        return count

    def portrait(self, model: LivePortrait, portrait: SourcePortrait) -> Iterator[AnimatedFrame]:
        """The animated frames of a source picture, at the times of the driving's."""
        times: deque[tuple[Fraction, Fraction | None]] = deque()
        with closing(self._motions(model, times, portrait.source.motion)) as motions:
            for index, frame in enumerate(animate_portrait(model, portrait, motions, self.options)):
                yield _animated(index, frame, *times.popleft())

    def film(self, model: LivePortrait, film: SourceFilm) -> Iterator[AnimatedFrame]:
        """The animated frames of a source video, at its own times."""
        with closing(self._motions(model, deque(), film.motion[:1])) as motions:
            limit = None if self.driving.is_still else len(film)
            driving = concat_motion(islice(_one_by_one(motions), limit))
        keypoints = film_keypoints(model, film, driving, self.options)
        valid = driving.valid.tolist() * (len(film) if self.driving.is_still else 1)
        times: deque[tuple[Fraction, Fraction | None]] = deque()

        def pictures(frames: Iterable[Frame]) -> Iterator[Picture]:
            for frame in frames:
                times.append((frame.time, frame.duration))
                yield frame.image

        with closing(self._source_frames()) as frames:
            made = animate_film(model, film, pictures(frames), keypoints, self.options)
            for index, frame in enumerate(made):
                yield _animated(index, replace(frame, valid=frame.valid and valid[index]), *times.popleft())

    def _source_frames(self) -> Generator[Frame, None, None]:
        """The source video's frames; a thread decodes ahead of the caller."""
        limit, film = self.job.face.limit, read_frames(self.job.reference)
        return ahead((replace(frame, image=limited(frame.image, limit)) for frame in film), DECODED_AHEAD)

    def _motions(
        self, model: LivePortrait, times: deque[tuple[Fraction, Fraction | None]], neutral: ImplicitMotion
    ) -> Generator[ImplicitMotion, None, None]:
        """The driving's motion in pieces; notes when its frames are, and their pictures."""
        if self.driving.film is None:
            yield noted_motion(IMPLICIT, self.job.clip, times)
            return
        if self.read is not None:
            times.extend(self.read.times)
            yield from fill_missing(self.read.pieces(ImplicitMotion), self.job.clip.missing, neutral)
            return
        film, faces = self.driving.film, self.driving.faces
        with closing(film.video.read()) as frames:
            yield from film.motion(model, noted_frames(frames, times, self.shown), faces, neutral)


def _one_by_one(motions: Iterable[ImplicitMotion]) -> Iterator[ImplicitMotion]:
    for motion in motions:
        yield from (motion[i : i + 1] for i in range(len(motion)))


def _animated(index: int, frame: RenderedFrame, time: Fraction, duration: Fraction | None) -> AnimatedFrame:
    return AnimatedFrame(index, time, frame.picture, keyframe=False, valid=frame.valid, duration=duration)
