"""Options of `animate` in a batch: those of all rows from the command line, those of one row from its table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NoReturn

from ..animation.implicit_job import gives_picture
from ..backends.registry import LIVEPORTRAIT
from ..batch.board import Row
from ..errors import InputError, PersonaLiveError
from ..media.still import RESULT_PICTURES
from .animate import add_arguments as add_animate
from .systems import EXPERIMENTAL

# By their names in the parsed arguments.
ENGINE_OPTIONS = frozenset(
    ("system", "weights", "device", "precision", "decoder", "size", "speed", "lora", "lora_strength", "animal")
)
FACE_OPTIONS = ENGINE_OPTIONS | {
    *("reference", "reference_box", "reference_crop", "reference_face", "reference_points", "reference_limit"),
    *("crop_scale", "detector", "eyes", "lips", "close_lips", "even_eyes"),
}
MOTION_OPTIONS = ENGINE_OPTIONS | {"start", "frames", "rate", "smooth", "detector", "face", "driving_box"}
RUN_ALONE = frozenset(("reference", "driving", "output", "sheet", "json", "quiet", "device"))  # no row has its own
PATHS = ("weights", "lora")
ONE_FACE = frozenset(("reference_box", "reference_crop", "reference_points", "reference_face"))  # ways to name one face
NOT_IN_KEY = RUN_ALONE | {"speed"}  # the result does not depend on them
TRUE, FALSE = ("true", "yes", "1", "on"), ("false", "no", "0", "off")


class RowParser(argparse.ArgumentParser):
    """The parser of `animate`; its errors become InputError."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}: correct the row's options")


@lru_cache(maxsize=1)
def row_parser() -> RowParser:
    """The parser of one row's arguments."""
    parser = RowParser(prog="row", add_help=False)
    add_animate(parser)
    return parser


@lru_cache(maxsize=1)
def defaults() -> Mapping[str, Any]:
    """Every argument of `animate` with its default."""
    return vars(row_parser().parse_args(["--reference", "x", "--driving", "x", "--output", "x.mp4"]))


def row_options() -> frozenset[str]:
    """The options that a row may have, as a table's columns are named."""
    return as_columns(frozenset(defaults()) - RUN_ALONE)


def as_columns(names: Iterable[str]) -> frozenset[str]:
    """Names of parsed arguments as names of columns."""
    return frozenset(name.replace("_", "-") for name in names)


def base_of(a: argparse.Namespace) -> dict[str, Any]:
    """The options of `animate` among the arguments of `batch`, which all rows begin with; paths made whole."""
    base = {name: getattr(a, name) for name in defaults() if hasattr(a, name)}
    base |= {"weights": a.weights.absolute(), "lora": [path.absolute() for path in a.lora], "sheet": None}
    return {**base, "quiet": True, "json": False}


def common_options(base: Mapping[str, Any]) -> str:
    """What of `base` the results depend on, as text; without experiments that are off: older journals stay valid."""
    off = {name for name, default in EXPERIMENTAL.items() if base.get(name) == default}
    return repr(sorted((name, str(value)) for name, value in base.items() if name not in NOT_IN_KEY | off))


def own_suffix(base: Mapping[str, Any], row: Row) -> str:
    """The suffix of a row's result where it is not that of all rows: LivePortrait gives a picture driven by one.

    Of files that cannot be read it says nothing: whoever makes the row says why.
    """
    if dict(row.options).get("system", base["system"]) != LIVEPORTRAIT:
        return ""
    try:
        return RESULT_PICTURES[0] if gives_picture(row.reference, row.driving) else ""
    except PersonaLiveError:
        return ""


def whole_paths(options: Iterable[tuple[str, str]], folder: Path) -> tuple[tuple[str, str], ...]:
    """The options of a row; file names among them are relative to `folder`, that of the table."""
    return tuple((name, str((folder / value).absolute()) if name in PATHS else value) for name, value in options)


def row_arguments(
    base: Mapping[str, Any], options: Sequence[tuple[str, str]], files: tuple[str, str, str]
) -> argparse.Namespace:
    """The arguments of `animate` for one row; `files` are reference, driving and output.

    Raises InputError for an option that is unknown, or has a value that it cannot have.
    """
    roles = ("reference", "driving", "output")
    given = {name: value for name, value in base.items() if name not in roles}
    own = {name.replace("-", "_") for name, _ in options}
    if own & ONE_FACE:  # else that of all rows could come before the row's
        given |= {name: defaults()[name] for name in ONE_FACE - own}
    words = [word for role, file in zip(roles, files, strict=True) for word in (f"--{role}", file)]
    for name, value in options:
        flag = name.replace("-", "_")
        if not isinstance(defaults().get(flag), bool):
            words.append(f"--{name}={value}")
        elif value.lower() in TRUE:
            words.append(f"--{name}")
        elif value.lower() in FALSE:
            given[flag] = False
        else:
            raise InputError(f"--{name} is yes or no, not {value!r}: correct the row's options")
    return row_parser().parse_args(words, argparse.Namespace(**given))
