"""The command `personalive submit`: runs a batch of rows on ComfyUI servers and lists the failed ones."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..batch.comfyui import Policy, run_batch
from ..batch.journal import FAILED, read_journal
from ..batch.rows import LOADERS, BatchJob, BatchRow, csv_rows, folder_rows, loader_node, make_jobs, read_workflow
from ..errors import InputError
from ..text import plural
from .readers import number, whole
from .result import Result


def server_url(text: str) -> str:
    """Parses a ComfyUI server's address and strips trailing slashes.

    Raises argparse.ArgumentTypeError unless it begins with http:// or https://.
    """
    if not text.startswith(("http://", "https://")):
        raise argparse.ArgumentTypeError(f"expected an address such as http://127.0.0.1:8188, got {text!r}")
    return text.rstrip("/")


def assignment(text: str) -> tuple[str, str]:
    """Parses NODE.INPUT=VALUE into ("NODE.INPUT", "VALUE"). Raises argparse.ArgumentTypeError for another form."""
    target, sign, value = text.partition("=")
    if not sign or "." not in target:
        raise argparse.ArgumentTypeError(f"expected NODE.INPUT=VALUE such as 6.seed=42, got {text!r}")
    return target, value


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive submit`."""
    # Where the rows run, and where their results go.
    parser.add_argument(
        "--server",
        type=server_url,
        action="append",
        required=True,
        metavar="URL",
        help="a running ComfyUI, such as http://127.0.0.1:8188; repeat it to share the work",
    )
    parser.add_argument("--workflow", type=Path, required=True, help="exported in API format: .json")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="one folder per row, and the journal")
    rows = parser.add_argument_group("rows", "every reference with every driving, or a table")
    rows.add_argument("--references", type=Path, metavar="DIR", help="folder of portraits")
    rows.add_argument("--drivings", type=Path, metavar="DIR", help="folder of driving videos")
    rows.add_argument("--csv", type=Path, metavar="FILE", help="columns reference, driving, NODE.INPUT (as 6.seed)")
    place = parser.add_argument_group("where it goes", "nodes by id or title")
    for role, loader in LOADERS.items():
        place.add_argument(
            f"--{role}-node",
            metavar="NODE",
            help=f'loads the {role} (default: the {loader}, of several the one with "{role}" in its title)',
        )
    place.add_argument(
        "--set", type=assignment, action="append", default=[], metavar="NODE.INPUT=VALUE", help="for all rows"
    )
    # How the batch runs.
    parser.add_argument("--retries", type=whole(0), default=2, help="of a row, after temporary failures (default: 2)")
    parser.add_argument(
        "--timeout",
        type=number(0.1),
        default=600.0,
        metavar="SECONDS",
        help="give up a running job after this much silence (default: 600)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only list the rows")
    parser.add_argument("--json", action="store_true", help="the result as one line of JSON, alone on standard output")
    parser.add_argument("--quiet", action="store_true", help="no progress lines")


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive submit`: sends the rows to ComfyUI servers and saves each row's results in its folder."""
    jobs = _jobs(a)
    if a.dry_run:
        return _listed(jobs, a.output)
    policy = Policy(retries=a.retries, silence=a.timeout)
    tell = (lambda _: None) if a.quiet else _tell
    records = asyncio.run(run_batch(jobs, tuple(dict.fromkeys(a.server)), a.output, policy, tell))
    failed = [record for record in records if record.state == FAILED]
    lines = [f"{a.output}: {plural(len(records), 'row')}, {len(failed)} failed"]
    if failed:
        lines += ["", *aligned(("row", "server", "reason"), [(r.name, r.server, r.reason) for r in failed])]
    values = {
        "output": str(a.output),
        "rows": [{"row": r.name, "server": r.server, "files": [*r.files], "reason": r.reason} for r in records],
        "failed": len(failed),
    }
    return Result("\n".join(lines), values, 1 if failed else 0)


def _jobs(a: argparse.Namespace) -> tuple[BatchJob, ...]:
    prompt = read_workflow(a.workflow)
    folders = {
        role: folder for role, folder in (("reference", a.references), ("driving", a.drivings)) if folder is not None
    }
    if bool(folders) == bool(a.csv):
        raise InputError("give either --references and --drivings, or --csv: these say what the rows are.")
    table = csv_rows(a.csv) if a.csv else ()
    roles = [role for role in LOADERS if role in folders or any(role in row.files for row in table)]
    nodes = {role: loader_node(prompt, role, getattr(a, f"{role}_node")) for role in roles}
    rows = table or folder_rows(folders, {role: prompt[node] for role, node in nodes.items()})
    rows = tuple(BatchRow(row.files, (*a.set, *row.values)) for row in rows)
    taken = {key: record.name for key, record in read_journal(a.output).items() if record.state != FAILED}
    return make_jobs(prompt, rows, nodes, taken)


def _listed(jobs: Sequence[BatchJob], output: Path) -> Result:
    records = read_journal(output)
    done = [job.key in records and records[job.key].is_whole(output) for job in jobs]
    lines = aligned(
        ("row", "files", "state"),
        [
            (job.name, " ".join(map(str, job.uploads.values())), "done" if is_done else "to do")
            for job, is_done in zip(jobs, done, strict=True)
        ],
    )
    values = [{"row": job.name, "done": is_done} for job, is_done in zip(jobs, done, strict=True)]
    return Result("\n".join(lines), values)


def aligned(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    """Formats rows as lines; each column is as wide as its longest text."""
    table = [heads, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")
