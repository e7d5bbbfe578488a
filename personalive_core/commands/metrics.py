"""The command `personalive metrics`: measures results against the truth or the driving, and compares systems."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from ..errors import InputError
from ..evaluation.catalogue import Catalogue, Judges, catalogue, open_judges
from ..evaluation.drawn_set import (
    DRIVING_FOLDER,
    REFERENCE_FOLDER,
    RESULTS_FOLDER,
    TRUTH_FOLDER,
    write_drawn_set,
)
from ..evaluation.films import FilmPaths, MeasuredFilm, matched
from ..evaluation.judges.types import BACKBONES, POINTS, JudgeOptions
from ..evaluation.measured_picture import measured_picture
from ..evaluation.measured_text import failed_lines, measured_text, measured_values, table_text
from ..evaluation.measuring import Measurement, measure_film, measure_films
from ..media.files import check_written
from ..media.picture import write_image
from ..metrics.types import TASKS, MetricTask
from .readers import whole
from .result import Result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive metrics`."""
    what = parser.add_argument_group("what is measured", "a film or a folder of films each, matched by name")
    what.add_argument("--result", type=Path, metavar="PATH", help="what was generated")
    what.add_argument("--truth", type=Path, metavar="PATH", help="the true film (self-reenactment)")
    what.add_argument("--reference", type=Path, metavar="PATH", help="the portrait, or a folder of portraits")
    what.add_argument("--driving", type=Path, metavar="PATH", help="the driving film (cross-reenactment)")
    what.add_argument(
        "--table", type=Path, metavar="DIR",
        help="compare systems: DIR holds results/SYSTEM/self, results/SYSTEM/cross, truth, reference and driving",
    )  # fmt: skip
    what.add_argument(
        "--write-drawn", type=Path, metavar="DIR", help="write a set of drawn people for --table, and end"
    )
    for name, default, text in (("people", 4, "of that set"), ("frames", 24, "of each of its films")):
        what.add_argument(f"--{name}", type=whole(2), default=default, metavar="N", help=f"{text} (default: {default})")
    parser.add_argument("--first", type=whole(1), metavar="N", help="measure the first N frames of each film only")
    parser.add_argument("--size", type=whole(32), metavar="PIXELS", help="make all square pictures this large first")
    judges = parser.add_argument_group("networks", "what is not given or installed is a dash in the table")
    judges.add_argument(
        "--points", choices=POINTS, default="auto", help="finds eyes, head, lips (default: %(default)s)"
    )
    judges.add_argument("--lpips", choices=BACKBONES, default="alex", help="its backbone (default: %(default)s)")
    judges.add_argument("--download", action="store_true", help="let torchvision fetch the backbone of LPIPS")
    judges.add_argument("--insightface", action="store_true", help="ArcFace, whose models are for research only")
    judges.add_argument("--weights", type=Path, metavar="DIR", help="of PersonaLive or LivePortrait: head pose, YuNet")
    for name, text in (
        ("yunet", "OpenCV's face detector"),
        ("sface", "OpenCV's face recogniser"),
        ("mediapipe", "face_landmarker.task"),
        ("i3d", "I3D's weights, for FVD"),
    ):
        judges.add_argument(f"--{name}", type=Path, metavar="FILE", help=text)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="worst frames and curves: .png or .jpg")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON, alone on standard output")


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive metrics`."""
    if a.write_drawn:
        write_drawn_set(a.write_drawn, a.people, a.frames)
        return Result(f"{a.write_drawn}: films of {a.people} drawn people", {"folder": str(a.write_drawn)})
    judges = partial(open_judges, _options(a))
    if a.table:
        if a.result or a.truth or a.reference or a.driving or a.picture:
            raise InputError("--table has its films in folders: leave out --result, --truth and the others, --picture")
        return _compared(a, judges())
    films = _films(a)
    if a.picture:
        for film in films:
            check_written(a.picture, (".png", ".jpg", ".jpeg"), _files_beside(a.picture, film))
    task: MetricTask = "self" if a.truth else "cross"
    found = _measured(a, films, catalogue(task, judges(), a.reference is not None))
    text = measured_text(found)
    if a.picture and found.numbers:
        picture = measured_picture(found, {film.name: _opened(a, film) for film in films})
        if picture is not None:
            write_image(a.picture, picture, label=False)
            text += f"\n\n{a.picture}: worst frames and curves"
    return Result(text, {"task": task, **measured_values(found)}, 1 if found.failed else 0)


def _options(a: argparse.Namespace) -> JudgeOptions:
    for name in ("yunet", "sface", "mediapipe", "i3d"):
        if (path := getattr(a, name)) is not None and not path.is_file():
            raise InputError(f"--{name} is the path of a file, but {path} is none: correct it, or leave it out")
    return JudgeOptions(a.points, a.weights, a.yunet, a.sface, a.mediapipe, a.i3d, a.lpips, a.insightface, a.download)


def _films(a: argparse.Namespace) -> tuple[FilmPaths, ...]:
    if a.result is None:
        raise InputError("nothing says what to measure: give --result with --truth, or with --reference and --driving")
    if bool(a.truth) == bool(a.driving):
        raise InputError("give either --truth (self-reenactment) or --reference and --driving (cross-reenactment)")
    if a.driving and not a.reference:
        raise InputError("cross-reenactment is measured against the portrait too: give --reference")
    return matched(a.result, a.truth or a.driving, a.reference, bool(a.truth))


def _files_beside(picture: Path, film: FilmPaths) -> dict[str, Path]:
    """The files of a film by what they are; of a folder of pictures the one that has the name of `picture`."""
    paths = {"result": film.result, "truth" if film.is_self else "driving": film.beside, "reference": film.reference}
    return {name: path / picture.name if path.is_dir() else path for name, path in paths.items() if path}


def _opened(a: argparse.Namespace, film: FilmPaths) -> MeasuredFilm:
    return film.opened(a.size, a.first)


def _measured(a: argparse.Namespace, films: tuple[FilmPaths, ...], measures: Catalogue) -> Measurement:
    """The figures of the films. What is wrong with a film alone is raised, of several it is listed."""
    if len(films) == 1:
        return measure_film(_opened(a, films[0]), measures)
    return measure_films(films, measures, partial(_opened, a))


def _compared(a: argparse.Namespace, judges: Judges) -> Result:
    systems = {folder.name: _of_system(a, folder, judges) for folder in _systems(a.table / RESULTS_FOLDER)}
    parts = [table_text(systems)]
    for name, tasks in systems.items():
        for task, found in tasks.items():
            parts += ["\n".join([f"{name}, {task}:", *failed_lines(found.failed)])] if found.failed else []
    values = {name: {task: measured_values(found) for task, found in tasks.items()} for name, tasks in systems.items()}
    failed = any(found.failed for tasks in systems.values() for found in tasks.values())
    return Result("\n\n".join(parts), {"systems": values}, 1 if failed else 0)


def _of_system(a: argparse.Namespace, folder: Path, judges: Judges) -> dict[MetricTask, Measurement]:
    """The figures of one system's results, of each task that it has."""
    found: dict[MetricTask, Measurement] = {}
    for task in TASKS:
        if (folder / task).is_dir():
            is_self = task == "self"
            portraits = None if is_self else a.table / REFERENCE_FOLDER
            films = matched(folder / task, a.table / (TRUTH_FOLDER if is_self else DRIVING_FOLDER), portraits, is_self)
            found[task] = measure_films(films, catalogue(task, judges, not is_self), partial(_opened, a))
    return found


def _systems(results: Path) -> list[Path]:
    """The folders of the systems. Raises InputError unless each has films of one of TASKS."""
    folders = [path for path in sorted(results.iterdir()) if path.is_dir()] if results.is_dir() else []
    for folder in folders:
        if not any((folder / task).is_dir() for task in TASKS):
            raise InputError(f"{folder} holds neither a folder self nor a folder cross: put the system's films there")
    if not folders:
        raise InputError(f"{results} holds no folder of a system: put results into {results}/SYSTEM/self or .../cross")
    return folders
