"""Figures over films: the mean, its standard error, and the frames that are worst."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .pictures import Numbers
from .types import Metric, Reading

WORST = 3  # frames named in a figure


@dataclass(frozen=True, eq=False)
class FilmNumbers:
    """What was read of one film, by the names of the readers."""

    name: str
    frames: int
    numbers: Mapping[str, Numbers]  # [frames, ...] each


@dataclass(frozen=True)
class WorstFrame:
    """A frame, counted from 0, and its value."""

    film: str
    frame: int
    value: float


@dataclass(frozen=True, eq=False)
class Figure:
    """A row of the table. Without a value, `why` says why."""

    measure: Metric
    value: float | None
    error: float | None = None  # standard error of the mean: over films, of a single film over its frames
    films: int = 0  # that the value is a mean of
    frames: int = 0  # that were read
    unseen: int = 0  # frames without a value
    worst: tuple[WorstFrame, ...] = ()
    why: str = ""


def figures(measures: Sequence[Metric], films: Sequence[FilmNumbers]) -> tuple[Figure, ...]:
    """One figure for each measure, over all films."""
    return tuple(_figure(measure, films) for measure in measures)


def readings(measure: Metric, films: Sequence[FilmNumbers]) -> list[Reading]:
    """The reading of each film; empty for a measure of all films together, and for one that is missing."""
    if measure.missing or measure.finish is None:
        return []
    return [measure.finish(film.numbers[measure.reader]) for film in films]


def _figure(measure: Metric, films: Sequence[FilmNumbers]) -> Figure:
    if measure.missing or not films:
        return Figure(measure, None, why=measure.missing or "no film could be measured")
    if measure.pooled:
        found = measure.pooled([film.numbers[measure.reader] for film in films])
        whole = sum(film.frames for film in films)
        return Figure(measure, _finite(found.value), films=len(films), frames=whole, why=found.why)
    all_readings = readings(measure, films)
    values = np.array([reading.value for reading in all_readings])
    known = values[np.isfinite(values)]
    traces = [reading.frames for reading in all_readings if reading.frames is not None]
    frames = np.concatenate(traces) if traces else np.empty(0)
    if not len(known):
        return Figure(measure, None, frames=len(frames), why=all_readings[0].why)
    counted = known if len(known) > 1 else frames[np.isfinite(frames)]
    error = float(np.std(counted, ddof=1) / np.sqrt(len(counted))) if len(counted) > 1 else None
    unread = {reading.why for reading in all_readings if reading.why}
    return Figure(
        measure,
        float(known.mean()),
        error,
        len(known),
        sum(film.frames for film in films),
        int((~np.isfinite(frames)).sum()),
        _worst(measure, films, all_readings),
        f"{len(values) - len(known)} of {len(values)} films: {'; '.join(sorted(unread))}" if unread else "",
    )


def badness(measure: Metric) -> Callable[[Numbers], Numbers]:
    """A function of values that is the higher the worse they are."""
    if measure.wanted == "most":
        return lambda values: -values
    if measure.wanted == "one":
        return lambda values: np.abs(np.log(np.maximum(values, np.finfo(float).tiny)))
    return lambda values: values


def _worst(measure: Metric, films: Sequence[FilmNumbers], found: Sequence[Reading]) -> tuple[WorstFrame, ...]:
    frames = []
    for film, reading in zip(films, found, strict=True):
        trace = np.empty(0) if reading.frames is None else reading.frames
        ranks = badness(measure)(trace)
        order = [int(i) for i in np.argsort(-ranks, kind="stable") if np.isfinite(trace[i])]
        frames += [(float(ranks[i]), WorstFrame(film.name, i, float(trace[i]))) for i in order[:WORST]]
    return tuple(frame for _, frame in sorted(frames, key=lambda pair: -pair[0])[:WORST])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
