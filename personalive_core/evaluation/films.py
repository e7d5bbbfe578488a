"""The films that are measured: which belong together, and what is read of them, a window at a time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import InputError
from ..media.folder import folder_files
from ..media.picture import PICTURE_SUFFIXES, Picture, read_image
from ..media.video import VIDEO_SUFFIXES, read_frames
from ..metrics.summary import FilmNumbers
from ..metrics.types import FilmWindow, Reader
from ..metrics.windows import same_size, side_by_side

JOINED = "__"  # between the names of reference and driving in the name of a result, as batches write it

FrameSource = Callable[[], Iterable[Picture]]  # the frames from the beginning, each time that it is called


@dataclass(frozen=True, eq=False)
class MeasuredFilm:
    """A result, the truth (self) or the driving (cross) beside it, and the portrait, if there is one."""

    name: str
    result: FrameSource
    beside: FrameSource
    is_self: bool
    reference: Picture | None = None  # [H, W, 3]
    called: tuple[str, str] = ("the result", "the other film")  # both, in messages


def read_numbers(film: MeasuredFilm, readers: Mapping[str, Reader]) -> FilmNumbers:
    """Everything that the readers read of a film. Memory is O(window) besides the numbers.

    Raises InputError for films of different lengths, or of different sizes in self-reenactment, and what the films'
    own frames raise.
    """
    parts: dict[str, list[np.ndarray]] = {name: [] for name in readers}
    frames = 0
    for window in _windows(film):
        frames += len(window)
        for name, read in readers.items():
            parts[name].append(read(window))
    return FilmNumbers(film.name, frames, {name: np.concatenate(_filled(part)) for name, part in parts.items()})


def _windows(film: MeasuredFilm) -> Iterator[FilmWindow]:
    for window in side_by_side(film.result(), film.beside(), *film.called, film.reference):
        yield same_size(window, *film.called) if film.is_self else window


def _filled(parts: list[np.ndarray]) -> list[np.ndarray]:
    """The parts that hold a row; if none does, the first."""
    return [part for part in parts if len(part)] or parts[:1]


def frame_of(film: FrameSource, index: int) -> Picture:
    """One frame of a film, which is read up to it."""
    return next(iter(islice(film(), index, None)))


def film_pictures(path: Path, size: int | None, first: int | None) -> FrameSource:
    """The frames of a file or folder of pictures: at most the `first`, made `size` pixels a side if that is given."""
    return lambda: (resized(frame.image, size) for frame in read_frames(path, count=first))


def resized(picture: Picture, size: int | None) -> Picture:
    """The picture as [size, size, 3], antialiased; as it is without a size, or if it has that one.

    Raises InputError for a picture that is not square, which would be stretched.
    """
    height, width = picture.shape[:2]
    if size is None or (height, width) == (size, size):
        return picture
    if height != width:
        raise InputError(f"--size makes square pictures smaller or larger, got {width}x{height}: crop the film first")
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class FilmPaths:
    """The files of a film to measure; `beside` is the truth (self) or the driving (cross)."""

    name: str
    result: Path
    beside: Path
    reference: Path | None
    is_self: bool

    def opened(self, size: int | None = None, first: int | None = None) -> MeasuredFilm:
        """The film; its frames are read when they are asked for. Raises InputError for a bad reference."""
        return MeasuredFilm(
            self.name,
            film_pictures(self.result, size, first),
            film_pictures(self.beside, size, first),
            self.is_self,
            None if self.reference is None else resized(read_image(self.reference), size),
            (str(self.result), str(self.beside)),
        )


def matched(result: Path, beside: Path, reference: Path | None, is_self: bool) -> tuple[FilmPaths, ...]:
    """The films of a result, which is a file, or a folder of films whose names say what they belong to.

    In a folder, NAME.mp4 belongs to the file NAME of the other folders, or A__B.mp4 to the reference A and the driving
    (or truth) B; a file instead of a folder belongs to all. A folder of pictures is one film. Raises InputError for a
    name that has no counterpart.
    """
    if not _is_folder_of_films(result):
        return (FilmPaths(result.stem, result, beside, reference, is_self),)
    what = "truth" if is_self else "driving"
    films, paths = [], folder_files(result, VIDEO_SUFFIXES, "video")
    stems = Counter(path.stem for path in paths)
    for path in paths:
        portrait = None if reference is None else _counterpart(path, reference, 0, "reference")
        name = path.stem if stems[path.stem] == 1 else path.name
        films.append(FilmPaths(name, path, _counterpart(path, beside, 1, what), portrait, is_self))
    return tuple(films)


def _is_folder_of_films(path: Path) -> bool:
    return path.is_dir() and any(file.suffix.lower() in VIDEO_SUFFIXES for file in path.iterdir())


def _counterpart(result: Path, folder: Path, part: int, what: str) -> Path:
    """The file of `folder` named as the result, or as the part of its name that says what it was made of."""
    if not folder.is_dir():
        return folder
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".")]
    names = [result.stem, *result.stem.split(JOINED, 1)[part:][:1]]
    for name in names:
        found = [file for file in files if name in (file.stem, file.name) and _is_media(file)]
        if len(found) > 1:
            raise InputError(f"{folder} holds {len(found)} files named {name}: leave one of them there")
        if found:
            return found[0]
    raise InputError(
        f"{folder} holds no {what} named {' or '.join(dict.fromkeys(names))} for {result}: add or rename it"
    )


def _is_media(file: Path) -> bool:
    return file.is_dir() or file.suffix.lower() in (*VIDEO_SUFFIXES, *PICTURE_SUFFIXES)
