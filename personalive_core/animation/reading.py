"""Reads the motion of a driving once, for animations of many references."""

from __future__ import annotations

from contextlib import closing

from .driving import open_driving
from .implicit_animate import ImplicitJob
from .implicit_job import open_film
from .job import AnimationJob
from .pipeline import gappy_motion
from .sharing import KEPT_NETWORKS, FilmMotion, FrameTime, Keep, make_anew, noted, whole_film


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
