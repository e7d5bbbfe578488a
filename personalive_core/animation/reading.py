"""Reads the motion of a driving once, for animations of many references, and animates with any system."""

from __future__ import annotations

from contextlib import closing

from .driving import open_driving
from .hunyuan_job import HunyuanJob, animate_hunyuan, gappy_hunyuan, open_hunyuan_film
from .implicit_animate import ImplicitJob, animate_implicit
from .implicit_job import open_film
from .job import AnimationJob, Summary, animate_to_file
from .pipeline import gappy_motion
from .sharing import KEPT_NETWORKS, FilmMotion, FrameTime, Keep, make_anew, noted, whole_film

AnyJob = AnimationJob | ImplicitJob | HunyuanJob


def animate_job(job: AnyJob, keep: Keep = make_anew, read: FilmMotion | None = None) -> Summary:
    """Animates with the job's system, as `animate_to_file`, `animate_implicit` and `animate_hunyuan` say."""
    if isinstance(job, HunyuanJob):
        return animate_hunyuan(job, keep, read)
    if isinstance(job, ImplicitJob):
        return animate_implicit(job, keep, read)
    return animate_to_file(job, keep, read)


def read_job_motion(job: AnyJob, keep: Keep = make_anew) -> FilmMotion:
    """The motion of the job's driving film, for `animate_job` of any job that differs in its reference alone.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """
    if isinstance(job, HunyuanJob):
        return read_hunyuan_motion(job, keep)
    return read_implicit_motion(job, keep) if isinstance(job, ImplicitJob) else read_film_motion(job, keep)


def read_film_motion(job: AnimationJob, keep: Keep = make_anew) -> FilmMotion:
    """The motion of the job's driving video, for `animate_to_file` of any job that differs in its reference alone.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """
    engine, times = job.engine, list[FrameTime]()
    engine.require()
    source = open_driving(job.clip, engine.size, engine.weights)
    model = keep(KEPT_NETWORKS, engine.load)
    with closing(source.read()) as frames:
        return whole_film(gappy_motion(model, noted(frames, times), source.options), times)


def read_implicit_motion(job: ImplicitJob, keep: Keep = make_anew) -> FilmMotion:
    """The motion of the job's driving film, for `animate_implicit` of any job that differs in its reference alone.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """
    job.engine.require()
    film, times = open_film(job.clip, job.engine.weights), list[FrameTime]()
    faces = film.faces(job.quiet)  # before the networks load: a film without any face needs none
    model = keep(KEPT_NETWORKS, job.engine.load)
    with closing(film.video.read()) as frames:
        return whole_film(film.gappy(model, noted(frames, times), faces), times)


def read_hunyuan_motion(job: HunyuanJob, keep: Keep = make_anew) -> FilmMotion:
    """The motion of the job's driving film, for `animate_hunyuan` of any job that differs in its reference alone.

    Raises PersonaLiveError; wrong inputs are rejected before the networks load.
    """
    engine, times = job.engine, list[FrameTime]()
    engine.require()
    film = open_hunyuan_film(job.clip, engine)
    model = keep(KEPT_NETWORKS, engine.load)
    with closing(film.read()) as frames:
        return whole_film(gappy_hunyuan(model, film, noted(frames, times), engine.size), times)
