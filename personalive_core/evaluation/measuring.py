"""Measures films: every figure of a task, the films that could not be measured, and where the worst frames are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ..errors import PersonaLiveError
from ..metrics.summary import Figure, FilmNumbers, figures
from .catalogue import Catalogue
from .films import FilmPaths, MeasuredFilm, read_numbers


@dataclass(frozen=True)
class FailedFilm:
    """A film that could not be measured, and why."""

    name: str
    reason: str


@dataclass(frozen=True, eq=False)
class Measurement:
    """The figures of some films; `numbers` is what they are made of."""

    figures: tuple[Figure, ...]
    numbers: tuple[FilmNumbers, ...]
    failed: tuple[FailedFilm, ...] = ()

    @property
    def frames(self) -> int:
        return sum(film.frames for film in self.numbers)


def measure_film(film: MeasuredFilm, measures: Catalogue) -> Measurement:
    """The figures of one film. Raises what `read_numbers` raises."""
    numbers = (read_numbers(film, measures.readers),)
    return Measurement(figures(measures.measures, numbers), numbers)


def measure_films(
    films: Iterable[FilmPaths], measures: Catalogue, opened: Callable[[FilmPaths], MeasuredFilm]
) -> Measurement:
    """The figures of all films together; one that cannot be read is left out and listed with its reason."""
    numbers, failed = [], []
    for film in films:
        try:
            numbers.append(read_numbers(opened(film), measures.readers))
        except PersonaLiveError as error:
            failed.append(FailedFilm(film.name, str(error)))
    return Measurement(figures(measures.measures, numbers), tuple(numbers), tuple(failed))
