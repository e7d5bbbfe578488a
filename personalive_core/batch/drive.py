"""Runs a board's rows on a pool of workers: each free worker takes its next task, results are noted as they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..errors import OutputError
from .board import MADE, Board, Row, Task, TaskEnd
from .journal import Record
from .ledger import Ledger

LOOK_AGAIN = 1.0  # seconds after which the pool is asked again, though nothing came
NO_WORKER = "every worker was lost: start them and run the same command again"


@dataclass(frozen=True)
class Event:
    """What a pool tells: how the worker's task ended, or, without an outcome, that the worker is there again."""

    worker: str
    outcome: TaskEnd | None = None


class Pool(Protocol):
    """Workers that take one task at a time."""

    def free(self) -> Sequence[str]:
        """The names of workers without a task."""

    def alive(self) -> Sequence[str]:
        """The names of all workers that are there."""

    def start(self, worker: str, task: Task, place: Path) -> None:
        """Has the free `worker` begin; a result goes to the file `place`."""

    def wait(self, seconds: float) -> Sequence[Event]:
        """What happened, as soon as something does; empty after `seconds`. A lost worker is free when it is back."""


class BatchWatch(Protocol):
    """Who is told how it goes."""

    def began(self, worker: str, task: Task) -> None:
        """A task began."""

    def ended(self, worker: str, task: Task, outcome: TaskEnd, record: Record | None) -> None:
        """A task ended; `record` if its row is finished."""

    def failed(self, record: Record) -> None:
        """A row is given up."""


def run_rows(
    board: Board,
    pool: Pool,
    ledger: Ledger,
    watch: BatchWatch,
    patience: float = 600.0,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Runs until every row ended or the board stopped. `patience` is how long to wait, in seconds, for a worker.

    Raises OutputError where a result could not be written; what is finished stays, and a later run goes on.
    """
    running: dict[str, Task] = {}
    seen = clock()
    while board.left:
        _begin(board, pool, ledger, watch, running)
        if board.stopped and not running:
            break
        events = pool.wait(LOOK_AGAIN)
        if running or pool.alive():
            seen = clock()
        elif clock() - seen > patience:
            board.stop(NO_WORKER)
        for event in events:
            if event.outcome is not None:
                _end(board, ledger, watch, (event.worker, running.pop(event.worker)), event.outcome)
    ledger.leave(_left(board, ledger), board.stopped)
    if board.stopped and board.stopped != NO_WORKER:
        raise OutputError(f"{board.stopped.rstrip('.')}, then run the same command again")


def _begin(board: Board, pool: Pool, ledger: Ledger, watch: BatchWatch, running: dict[str, Task]) -> None:
    alive = pool.alive()
    for worker in tuple(pool.free()):
        task = board.next(worker, alive)
        if task is not None:
            running[worker] = task
            pool.start(worker, task, ledger.place(task))
            watch.began(worker, task)


def _end(board: Board, ledger: Ledger, watch: BatchWatch, work: tuple[str, Task], outcome: TaskEnd) -> None:
    worker, task = work
    record = None
    if outcome.kind == MADE:
        record = ledger.finish(task.row, worker, Path(outcome.place))
    failed = board.ended(worker, task, outcome)
    watch.ended(worker, task, outcome, record)
    for one in failed:
        watch.failed(ledger.fail(one, worker))


def _left(board: Board, ledger: Ledger) -> list[Row]:
    return [row for row in board.rows if row.key not in ledger.records]
