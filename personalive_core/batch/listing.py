"""Lists the rows of a cluster's batch: from folders, a table or a manifest, each with its name, key and length."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from ..errors import InputError, PersonaLiveError
from ..media.folder import folder_files
from ..media.picture import PICTURE_SUFFIXES
from ..media.video import VIDEO_SUFFIXES, probe
from .board import Row
from .journal import CLUSTER_JOURNAL
from .rows import HASH_LETTERS, NO_NAMES, BatchRow, row_stem
from .table import Columns, TableRow, decode_table, read_table

MOTION_FILES = (".safetensors",)
PROBES = 8  # files that are looked into at the same time
ROLES = ("reference", "driving")

Names = frozenset[str]


@dataclass(frozen=True)
class Meaning:
    """What the options of a row are about: by their names, as the columns of a table have them."""

    known: Names  # all
    face: Names  # what the encoded reference depends on
    motion: Names  # what the driving's motion depends on
    common: str  # the options that all rows share, as text: part of every key


def pair_rows(references: Path, drivings: Path) -> tuple[BatchRow, ...]:
    """One row for every reference with every driving. Raises InputError if a folder is missing or holds none."""
    faces = folder_files(references, (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES), "picture or video")
    films = folder_files(drivings, (*VIDEO_SUFFIXES, *MOTION_FILES), "video")
    return tuple(BatchRow({"reference": face, "driving": film}) for film, face in itertools.product(films, faces))


def table_rows(path: Path, known: Names) -> tuple[BatchRow, ...]:
    """The rows of a CSV table with columns reference, driving and options of `known`. Raises as `read_table`."""
    columns = Columns(ROLES, known.__contains__, "an option of animate, as in seed")
    return tuple(_both(path, row) for row in read_table(path, columns))


def manifest_rows(path: Path, known: Names) -> tuple[BatchRow, ...]:
    """The rows of a manifest: one JSON object a line, with reference, driving and options of `known`.

    File names are relative to its folder. Raises InputError that names the line.
    """
    rows = []
    for number, line in enumerate(StringIO(decode_table(path), newline=None), 1):  # a name may hold U+2028
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            cells = dict(json.loads(line))
        except (ValueError, TypeError) as error:
            raise InputError(
                f"{place}: no JSON object ({error}): write one a line, with reference, driving."
            ) from error
        unknown = next((name for name in cells if name not in {*ROLES, *known}), None)
        if unknown is not None:
            raise InputError(f"{place}: {unknown!r} is no option of animate: correct or remove it.")
        files = {role: path.parent / str(cells[role]) for role in ROLES if cells.get(role)}
        for role, file in files.items():
            if not file.exists():
                raise InputError(f"{place}: no such file as the {role} {file}: correct it, relative to this folder.")
        values = {name: _text(value) for name, value in cells.items() if name not in ROLES}
        rows.append(_both(path, TableRow(files, values)))
    if not rows:
        raise InputError(f"{path} has no rows: write one JSON object a line, with reference and driving.")
    return tuple(rows)


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _both(path: Path, row: TableRow) -> BatchRow:
    missing = next((role for role in ROLES if role not in row.files), None)
    if missing:
        named = next(iter(row.files.values()), path)
        raise InputError(f"{path}: the row with {named} names no {missing}: every row needs a reference and a driving.")
    return BatchRow(row.files, tuple(sorted(row.values.items())))


def make_rows(
    given: Sequence[BatchRow], meaning: Meaning, taken: Mapping[str, str], length: Callable[[Path], int | None]
) -> tuple[Row, ...]:
    """The rows to run, without doubles; `taken` maps keys to names of earlier runs, `length` gives a film's frames.

    A row's key depends on its files (by path, size and time of change) and options. A row whose driving cannot be read
    has no length: whoever reads it says why. Raises InputError if a file is gone.
    """
    paths = {path for row in given for path in row.files.values()}
    states = {path: _state(path) for path in paths}
    films = list(dict.fromkeys(row.files["driving"] for row in given))
    with ThreadPoolExecutor(PROBES) as pool:
        lengths = dict(zip(films, pool.map(length, films), strict=True))
    names = _Names(taken)
    rows: dict[str, Row] = {}
    for row in given:
        key = _hash([row_stem(row), *(states[row.files[role]] for role in ROLES), [*row.values], meaning.common])
        if key not in rows:
            rows[key] = _row(names.name(key, row_stem(row)), key, row, meaning, lengths[row.files["driving"]])
    return tuple(rows.values())


def _row(name: str, key: str, row: BatchRow, meaning: Meaning, frames: int | None) -> Row:
    own = dict(row.values)
    face = [str(row.files["reference"]), sorted((k, v) for k, v in own.items() if k in meaning.face)]
    motion = [str(row.files["driving"]), sorted((k, v) for k, v in own.items() if k in meaning.motion)]
    limit = own.get("frames", "")
    if frames is not None and limit.isdecimal():
        frames = min(frames, int(limit))
    is_film = row.files["driving"].suffix.lower() not in MOTION_FILES
    return Row(
        name, key, row.files["reference"], row.files["driving"], row.values, frames, _hash(face), _hash(motion), is_film
    )


class _Names:
    """Gives each row a name of its own; some file systems do not distinguish A from a."""

    def __init__(self, taken: Mapping[str, str]) -> None:
        self._taken = taken
        self._used = {name.casefold() for name in (*NO_NAMES, CLUSTER_JOURNAL, *taken.values())}

    def name(self, key: str, stem: str) -> str:
        if key in self._taken:
            return self._taken[key]
        tries: Iterator[str] = itertools.chain([stem], (f"{stem}_{key[:n]}" for n in range(4, HASH_LETTERS + 1)))
        found = next(name for name in tries if name.casefold() not in self._used)
        self._used.add(found.casefold())
        return found


def film_frames(path: Path) -> int | None:
    """About how many frames a driving has; None if that cannot be told, as of a motion file or a damaged one."""
    if path.suffix.lower() in MOTION_FILES:
        return None
    try:
        return probe(path).frames
    except PersonaLiveError:
        return None


def _state(path: Path) -> list[object]:
    """What tells that a file is still the same."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the file.") from error
    return [str(path), found.st_size, found.st_mtime_ns]


def _hash(parts: Iterable[object]) -> str:
    return hashlib.sha256(json.dumps([*parts]).encode()).hexdigest()[:HASH_LETTERS]
