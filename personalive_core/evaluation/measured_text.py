"""The figures of films as text, as JSON, and as the rows of the paper's Table 1."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from ..metrics.summary import Figure
from ..metrics.types import TASKS, MetricTask
from ..text import plural
from .measuring import FailedFilm, Measurement
from .report import markdown_table

DASH = "–"
ARROWS = {"least": "↓", "most": "↑", "one": "→1", "none": ""}
# Columns of the paper's Table 1, by the keys of the measures.
TABLE_SELF, TABLE_CROSS = ("l1", "ssim", "lpips", "tlp"), ("id_sim", "aed", "apd", "fvd", "tlp")
STAND_INS = ("id_sim_dlib", "id_sim_sface", "aed_mediapipe")  # columns of their own, where they have a figure
_NAMED = 12  # letters of a hash in the text; JSON has all


def value_text(figure: Figure) -> str:
    """The value and its standard error, or a dash."""
    if figure.value is None:
        return DASH
    digits = figure.measure.digits
    error = "" if figure.error is None else f" ± {figure.error:.{digits}f}"
    return f"{figure.value:.{digits}f}{error}"


def measured_text(found: Measurement) -> str:
    """A table for people: each figure with its worst frame and network, then why others are missing."""
    head = ("", "mean ± standard error", "worst frame", "network")
    rows = [(_title(figure), value_text(figure), _worst(figure), _network(figure)) for figure in found.figures]
    lines = [f"{plural(len(found.numbers), 'film')}, {plural(found.frames, 'frame')}", "", *columns([head, *rows])]
    said = [f"{figure.measure.title}: {figure.why}" for figure in found.figures if figure.why]
    origins = {_origin(figure): None for figure in found.figures if figure.value is not None and _has_network(figure)}
    lines += ["", *said] if said else []
    lines += ["", "Networks:", *origins] if origins else []
    return "\n".join([*lines, *failed_lines(found.failed)])


def failed_lines(failed: Sequence[FailedFilm]) -> list[str]:
    """The films that were left out, each with its reason."""
    return ["", "Not measured:", *(f"{film.name}: {film.reason}" for film in failed)] if failed else []


def columns(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns are as wide as their longest text."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def measured_values(found: Measurement) -> dict[str, object]:
    """All figures in JSON types."""
    return {
        "films": [{"film": film.name, "frames": film.frames} for film in found.numbers],
        "failed": [asdict(film) for film in found.failed],
        "figures": {figure.measure.key: _values(figure) for figure in found.figures},
    }


def _values(figure: Figure) -> dict[str, object]:
    measure = figure.measure
    return {
        "title": measure.title,
        "best": measure.wanted,
        "mean": figure.value,
        "standard_error": figure.error,
        "films": figure.films,
        "frames": figure.frames,
        "frames_without": figure.unseen,
        "worst": [asdict(frame) for frame in figure.worst],
        "note": figure.why,
        **asdict(measure.origin),
    }


def table_text(systems: Mapping[str, Mapping[MetricTask, Measurement]]) -> str:
    """The layout of the paper's Table 1 in Markdown: system -> task ("self", "cross") -> its figures."""
    some = {task: rows[task] for rows in systems.values() for task in TASKS if task in rows}
    heads: list[tuple[MetricTask, str]] = [("self", key) for key in TABLE_SELF] if "self" in some else []
    if "cross" in some:
        heads += [("cross", key) for key in TABLE_CROSS]
        heads += [("cross", key) for key in STAND_INS if any(_has(rows.get("cross"), key) for rows in systems.values())]
    titles = [f"{task}: {_title(_of(some[task], key))}" for task, key in heads]
    lines = [
        f"| {name} | " + " | ".join(_cell(rows.get(task), key) for task, key in heads) + " |"
        for name, rows in systems.items()
    ]
    figures = [_of(rows[task], key) for task, key in heads for rows in systems.values() if task in rows]
    reasons = {f"{figure.measure.title}: {figure.why}": None for figure in figures if figure.value is None}
    networks = {_origin(figure): None for figure in figures if figure.value is not None and _has_network(figure)}
    parts = [markdown_table("Table 1", ("", *titles), lines)]
    parts += ["\n".join(f"- {text}" for text in (*reasons, *networks))] if reasons or networks else []
    return "\n\n".join(parts)


def _of(found: Measurement, key: str) -> Figure:
    return next(figure for figure in found.figures if figure.measure.key == key)


def _has(found: Measurement | None, key: str) -> bool:
    figures = () if found is None else found.figures
    return any(figure.measure.key == key and figure.value is not None for figure in figures)


def _cell(found: Measurement | None, key: str) -> str:
    return DASH if found is None else value_text(_of(found, key))


def _title(figure: Figure) -> str:
    return f"{figure.measure.title} {ARROWS[figure.measure.wanted]}".rstrip()


def _worst(figure: Figure) -> str:
    if not figure.worst:
        return ""
    worst = figure.worst[0]
    return f"{worst.value:.{figure.measure.digits}f} at {worst.film}, frame {worst.frame}"


def _has_network(figure: Figure) -> bool:
    return bool(figure.measure.origin.source)


def _network(figure: Figure) -> str:
    return figure.measure.origin.network if figure.value is not None and _has_network(figure) else ""


def _origin(figure: Figure) -> str:
    origin = figure.measure.origin
    digest = f"; sha256 {origin.sha256[:_NAMED]}…" if origin.sha256 else "; no hash is known"
    return f"{origin.network}: {origin.source}{digest}; licence: {origin.licence}"
