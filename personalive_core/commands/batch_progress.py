"""What `personalive batch` tells while it runs: a bar of frames, a line for each row's end, a line for each worker."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from tqdm import tqdm

from ..batch.board import READ, Row, Task, TaskEnd, frames_in
from ..batch.journal import Record
from ..text import plural

ROWS_BAR = "{desc} {n_fmt}/{total_fmt} frames |{bar:20}| {rate_noinv_fmt}, {remaining} left"
HEADS = ("worker", "rows", "frames", "frames/s", "busy", "motions", "references", "loads", "memory")
_MIB = 2**20


@dataclass(frozen=True)
class WorkerFigures:
    """What one worker has done."""

    rows: int = 0
    frames: int = 0  # of results
    seconds: float = 0.0  # at work
    motions: int = 0  # that it read
    references: int = 0  # that it encoded
    loads: int = 0  # of networks
    peak_memory: int | None = None  # bytes
    failed: int = 0  # tries

    def after(self, outcome: TaskEnd, done: bool) -> WorkerFigures:
        """The figures after one more task."""
        if outcome.kind != READ and not done:
            return replace(self, failed=self.failed + 1)
        reads = outcome.kind == READ
        return replace(
            self,
            rows=self.rows + (not reads),
            frames=self.frames + (0 if reads else outcome.frames),
            seconds=self.seconds + outcome.seconds,
            motions=self.motions + reads,
            references=outcome.faces,
            loads=outcome.loads,
            peak_memory=outcome.peak_memory,
        )

    @property
    def fps(self) -> float:
        """Frames of results a second of work."""
        return self.frames / self.seconds if self.seconds else 0.0


@dataclass(eq=False)
class BatchProgress:
    """A BatchWatch for people; `done` rows of earlier runs are counted too."""

    rows: int
    frames: int  # about, of the rows that are left
    done: int = 0
    quiet: bool = False
    failures: int = 0
    made: int = 0  # frames
    workers: dict[str, WorkerFigures] = field(default_factory=dict)
    began_at: float = field(default_factory=time.monotonic)
    _bar: Any = None

    def __post_init__(self) -> None:
        self._bar = tqdm(
            None, self._title, self.frames, disable=self.quiet, bar_format=ROWS_BAR, unit=" frames", smoothing=0
        )

    @property
    def _title(self) -> str:
        failed = f", {self.failures} failed" if self.failures else ""
        return f"{self.done}/{self.rows} rows{failed}"

    def tell(self, line: str) -> None:
        """A line above the bar."""
        if not self.quiet:
            self._bar.write(line, file=self._bar.fp)

    def began(self, worker: str, task: Task) -> None:
        self.workers.setdefault(worker, WorkerFigures())
        if task.tries:
            self.tell(f"{task.row.name} on {worker}: tried again")

    def ended(self, worker: str, task: Task, outcome: TaskEnd, record: Record | None) -> None:
        self.workers[worker] = self.workers[worker].after(outcome, record is not None)
        if record is not None:
            self.done += 1
            self.made += outcome.frames
            self._bar.set_description_str(self._title, refresh=False)
            self._bar.update(task.row.cost)
            rate = outcome.frames / outcome.seconds if outcome.seconds else 0.0
            said = f"done, {plural(outcome.frames, 'frame')}, {rate:.1f} a second"
        elif outcome.kind == READ:
            said = f"motion of {task.row.driving.name} read, {plural(outcome.frames, 'frame')}"
        else:
            said = outcome.reason
        self.tell(f"[{self.done}/{self.rows}] {task.row.name} on {worker}: {said}")

    def failed(self, record: Record) -> None:
        self.done += 1
        self.failures += 1
        self._bar.set_description_str(self._title)
        self.tell(f"[{self.done}/{self.rows}] {record.name}: failed: {record.reason}")

    def close(self) -> None:
        """Ends the bar's line."""
        self._bar.close()

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self.began_at

    def lines(self) -> Iterable[tuple[str, ...]]:
        """The table of the workers, as cells."""
        yield HEADS
        for name, w in self.workers.items():
            memory = "–" if w.peak_memory is None else f"{w.peak_memory / _MIB:.0f} MiB"
            numbers = (w.rows, w.frames, f"{w.fps:.2f}", f"{w.seconds:.0f} s", w.motions, w.references, w.loads, memory)
            yield (name, *map(str, numbers))


def progress_of(left: tuple[Row, ...], total: int, quiet: bool) -> BatchProgress:
    """The progress of a run that has `left` of `total` rows to do."""
    return BatchProgress(total, frames_in(left), total - len(left), quiet)
