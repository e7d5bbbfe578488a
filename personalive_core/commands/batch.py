"""The command `personalive batch`: animates many rows on the GPUs of one machine or of a Ray cluster."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from ..batch.board import Board, Row
from ..batch.drive import run_rows
from ..batch.journal import FAILED
from ..batch.ledger import Ledger, names_taken
from ..batch.listing import Meaning, film_frames, make_rows, manifest_rows, pair_rows, table_rows
from ..batch.ray_pool import ClusterOptions, RayPool, connect
from ..batch.rows import BatchRow
from ..errors import InputError
from ..text import plural
from .animate import add_options, job_of
from .batch_options import (
    FACE_OPTIONS,
    MOTION_OPTIONS,
    as_columns,
    base_of,
    common_options,
    own_suffix,
    row_arguments,
    row_options,
    whole_paths,
)
from .batch_plan import add_plan, planned
from .batch_progress import BatchProgress, progress_of
from .batch_worker import RowWorker
from .options import add_system
from .readers import number, whole
from .result import Result
from .submit import aligned
from .systems import refuse_others

FILM_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm")
_MIB = 2**20


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive batch`."""
    rows = parser.add_argument_group("rows", "every reference with every driving, a table, or a manifest")
    rows.add_argument("--references", type=Path, metavar="DIR", help="folder of portraits")
    rows.add_argument("--drivings", type=Path, metavar="DIR", help="folder of driving videos or motion files")
    rows.add_argument("--csv", type=Path, metavar="FILE", help="columns reference, driving, and options (as seed)")
    rows.add_argument("--manifest", type=Path, metavar="FILE", help="the same as one JSON object a line")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="one film a row, and the journal")
    parser.add_argument("--suffix", choices=FILM_SUFFIXES, default=".mp4", help="of the films (default: %(default)s)")
    cluster = parser.add_argument_group("cluster")
    cluster.add_argument("--address", help="of a running Ray: auto or ray://... (default: this machine alone)")
    cluster.add_argument("--workers", type=whole(1), help="actors (default: one a GPU, or as many as fit)")
    cluster.add_argument(
        "--cpus-per-worker", type=number(0.1), default=4.0, metavar="N", help="CPU cores of an actor (default: 4)"
    )
    cluster.add_argument(
        "--retries", type=whole(0), default=2, help="of a row, after failures that may pass (default: 2)"
    )
    cluster.add_argument(
        "--patience", type=number(1), default=600.0, metavar="SECONDS", help="wait for a worker (default: 600)"
    )
    cluster.add_argument("--dashboard", action="store_true", help="start the dashboard of a local Ray")
    cluster.add_argument("--object-store", type=whole(80), metavar="MIB", help="memory that a local Ray shares")
    cluster.add_argument("--local-cpus", type=whole(1), metavar="N", help="CPU cores of a local Ray (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="only list the rows")
    add_plan(parser)
    add_system(parser)
    add_options(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive batch`: one film a row in the output folder."""
    if a.sheet:
        raise InputError("--sheet is one file, and a batch has many results: leave it out")
    output = a.output.absolute()
    base = base_of(a)
    rows = _rows(a, base, output)
    if a.plan:
        return planned(a, rows)
    if a.dry_run:
        return Result("\n".join(aligned(("row", "frames"), [(r.name, str(r.frames or "?")) for r in rows])))
    _require(base, a.suffix)
    ledger = Ledger(output, a.suffix)
    left = ledger.open(rows)
    progress, dashboard = progress_of(left, len(rows), a.quiet), ""
    try:
        if left:
            dashboard = _run(a, base, ledger, left, progress)
    finally:
        progress.close()
        ledger.close()
    return _result(ledger, rows, progress, dashboard)


def _run(
    a: argparse.Namespace, base: Mapping[str, Any], ledger: Ledger, left: tuple[Row, ...], progress: BatchProgress
) -> str:
    """Runs the rows that are left; returns the address of Ray's dashboard, if there is one."""
    options = ClusterOptions(
        address=a.address,
        workers=a.workers,
        cpus=a.cpus_per_worker,
        on_cpu=a.device == "cpu",
        dashboard=a.dashboard,
        store=a.object_store and a.object_store * _MIB,
        local_cpus=a.local_cpus,
    )
    cluster = connect(options)
    progress.tell(f"{plural(cluster.workers, 'worker')} of {cluster.gpus or f'{a.cpus_per_worker:g} CPU'}")
    if cluster.dashboard:
        progress.tell(f"dashboard: http://{cluster.dashboard}")
    threads = 0 if cluster.gpus else max(round(a.cpus_per_worker), 1)
    arguments = {"base": base, "output": str(ledger.output), "threads": threads}
    pool = RayPool(cluster, RowWorker, arguments, a.cpus_per_worker, progress.tell)
    try:
        run_rows(Board(left, a.retries), pool, ledger, progress, a.patience)
    finally:
        pool.close()
    return cluster.dashboard


def _rows(a: argparse.Namespace, base: Mapping[str, Any], output: Path) -> tuple[Row, ...]:
    """The rows of the batch. Raises InputError for a missing file, or an option that a row cannot have."""
    given = _given(a)
    for options in {row.values for row in given}:
        refuse_others(row_arguments(base, options, ("x", "x", f"x{a.suffix}")))
    meaning = Meaning(
        row_options(), as_columns(FACE_OPTIONS), as_columns(MOTION_OPTIONS), f"{common_options(base)} {a.suffix}"
    )
    rows = make_rows(given, meaning, names_taken(output), partial(_length, a.frames))
    return tuple(replace(row, suffix=own_suffix(base, row)) for row in rows)


def _require(base: Mapping[str, Any], suffix: str) -> None:
    """Raises WeightsError if the networks of all rows are not there: better now than once a row."""
    on_cpu = {**base, "device": "cpu", "precision": "auto"}  # this machine may have no GPU
    job_of(row_arguments(on_cpu, (), ("x", "x", f"x{suffix}"))).engine.require()


def _given(a: argparse.Namespace) -> tuple[BatchRow, ...]:
    folders = a.references is not None or a.drivings is not None
    if folders + (a.csv is not None) + (a.manifest is not None) != 1 or (a.references is None) != (a.drivings is None):
        raise InputError("the rows are not clear: give --references with --drivings, or --csv, or --manifest")
    if folders:
        rows, folder = pair_rows(a.references, a.drivings), Path()
    elif a.csv:
        rows, folder = table_rows(a.csv, row_options()), a.csv.parent
    else:
        rows, folder = manifest_rows(a.manifest, row_options()), a.manifest.parent
    return tuple(
        BatchRow({role: path.absolute() for role, path in row.files.items()}, whole_paths(row.values, folder))
        for row in rows
    )


def _length(limit: int | None, path: Path) -> int | None:
    frames = film_frames(path)
    return frames if frames is None or limit is None else min(frames, limit)


def _result(ledger: Ledger, rows: Sequence[Row], progress: BatchProgress, dashboard: str) -> Result:
    records = [ledger.records[row.key] for row in rows]
    failed = [record for record in records if record.state == FAILED]
    fps = progress.made / progress.seconds
    lines = [
        f"{ledger.output}: {plural(len(records), 'row')}, {len(failed)} failed; {plural(progress.made, 'frame')} in "
        f"{progress.seconds:.1f} s ({fps:.2f} a second)"
    ]
    if progress.workers:
        heads, *cells = progress.lines()
        lines += ["", *aligned(heads, cells)]
    if failed:
        lines += ["", *aligned(("row", "worker", "reason"), [(r.name, r.server, r.reason) for r in failed])]
    values = {
        "output": str(ledger.output),
        "rows": [{"row": r.name, "worker": r.server, "files": [*r.files], "reason": r.reason} for r in records],
        "failed": len(failed),
        "frames": progress.made,
        "seconds": progress.seconds,
        "fps": fps,
        "workers": {name: {**asdict(w), "fps": w.fps} for name, w in progress.workers.items()},
        "dashboard": dashboard,
    }
    return Result("\n".join(lines), values, 1 if failed else 0)
