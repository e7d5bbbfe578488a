"""What a cluster's workers do next: order, grouping, retries. Knows no cluster, so that it is tested without one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FACES_HELD = 8  # encoded references that a worker keeps; the last ones it used
MOST_READS = 10  # of one driving's motion: each time the node that held it was lost
UNKNOWN_FRAMES = 250  # length of a driving that could not be looked into
# How a task ended. The first two are the work itself, the others its failures.
READ, MADE = "read", "made"
BAD = "bad"  # the files or options: another try would fail in the same way
SHORT_OF_MEMORY = "memory"  # the worker's, or its device's, did not suffice
OUTPUT = "output"  # the result could not be written
TROUBLE = "trouble"  # of the machine, which may pass
LOST = "lost"  # the worker died, or its node
GONE = "gone"  # the driving's motion is lost with the node that held it


@dataclass(frozen=True)
class Row:
    """One result to make."""

    name: str  # of its file, without suffix
    key: str  # hash of everything that the result depends on
    reference: Path
    driving: Path
    options: tuple[tuple[str, str], ...]  # of this row alone: ("seed", "42")
    frames: int | None  # an estimate; None: not known
    face: str  # rows with the same one can take the same encoded reference
    motion: str  # rows with the same one can take the same motion
    is_film: bool = True  # else the driving is a motion file, which nobody needs to extract
    suffix: str = ""  # of its file; empty: that of all rows

    @property
    def cost(self) -> int:
        """Frames, for the order."""
        return UNKNOWN_FRAMES if self.frames is None else self.frames


@dataclass(frozen=True)
class Task:
    """What one worker does at a time: reads the motion of the row's driving, or makes the row's result."""

    row: Row
    reads: bool = False
    motion: Any = None  # where the motion is, if it was read
    tries: int = 0  # earlier ones that failed
    avoid: frozenset[str] = frozenset()  # workers that should not try it again
    lean: bool = False  # with nothing else in the worker's memory


@dataclass(frozen=True)
class TaskEnd:
    """How a task ended."""

    kind: str
    reason: str = ""  # of a failure
    exit_code: int = 1
    frames: int = 0
    seconds: float = 0.0
    place: str = ""  # the finished file, not yet under its own name
    peak_memory: int | None = None  # bytes, of the worker so far
    loads: int = 0  # how often the worker has loaded networks so far
    faces: int = 0  # references that it has encoded so far
    motion: Any = None  # where the motion is


@dataclass(frozen=True)
class Failed:
    """A row that is given up."""

    row: Row
    outcome: TaskEnd


@dataclass(eq=False)
class _Group:
    """The rows of one driving."""

    rows: dict[str, deque[Row]]  # not begun, by face
    shared: bool  # its motion is read once, for all rows
    left: int  # rows that have not ended
    cost: int
    motion: Any = None
    reading: bool = False
    reads: int = 0

    @property
    def ready(self) -> bool:
        return bool(self.rows) and (not self.shared or self.motion is not None)

    @property
    def wants_reading(self) -> bool:
        return self.shared and self.motion is None and not self.reading


@dataclass(eq=False)
class Board:
    """The rows that are left. `next` gives a free worker its task, `ended` takes how it ended.

    Drivings are opened longest first, and not many at a time: the motion of those that are open takes memory. A worker
    prefers rows whose reference it holds.
    """

    rows: Sequence[Row]
    retries: int = 2
    stopped: str = ""  # why no further task is begun
    reads: int = 0  # motions that were read
    _closed: deque[tuple[str, _Group]] = field(default_factory=deque)
    _open: dict[str, _Group] = field(default_factory=dict)
    _again: list[Task] = field(default_factory=list)
    _held: dict[str, deque[str]] = field(default_factory=dict)  # worker -> faces, the last used last
    _left: int = 0

    def __post_init__(self) -> None:
        groups = sorted(_groups(self.rows).items(), key=lambda item: -item[1].cost)
        self._closed.extend(groups)
        self._left = len(self.rows)

    @property
    def left(self) -> int:
        """Rows that have not ended."""
        return self._left

    def next(self, worker: str, workers: Iterable[str]) -> Task | None:
        """The task of the free `worker`, one of `workers`; None: there is nothing for it now."""
        if self.stopped:
            return None
        names = frozenset(workers)
        return self._retry(worker, names) or self._ready(worker) or self._opened(worker, len(names))

    def ended(self, worker: str, task: Task, outcome: TaskEnd) -> list[Failed]:
        """Takes the outcome; returns the rows that are given up with it."""
        group = self._open[task.row.motion]
        if outcome.kind in (LOST, SHORT_OF_MEMORY):
            self._held.pop(worker, None)  # what it held went with it, or was dropped
        if task.reads:
            return self._reading_ended(worker, group, task, outcome)
        if outcome.kind == MADE:
            self._end(task.row)
            return []
        if outcome.kind == GONE and group.reads < MOST_READS:
            if group.motion is task.motion:
                group.motion = None
            self._again.append(replace(task, motion=None))
            return []
        return self._failed(worker, task, outcome)

    def stop(self, reason: str) -> None:
        """Begins no further task."""
        self.stopped = self.stopped or reason

    def forget(self, worker: str) -> None:
        """The worker is gone, and what it held."""
        self._held.pop(worker, None)

    def _retry(self, worker: str, workers: frozenset[str]) -> Task | None:
        self._again = [task for task in self._again if not (task.reads and self._is_read(task))]
        for index, task in enumerate(self._again):
            group = self._open[task.row.motion]
            if not task.reads and group.shared and group.motion is None:
                if group.wants_reading and not self._reads_again(task.row.motion):
                    return self._read(group, task.row)
                continue
            if worker in task.avoid and workers - task.avoid:
                continue  # another will take it
            del self._again[index]
            if task.reads:
                return self._read(group, task.row, task.tries)
            self._hold(worker, task.row.face)
            return replace(task, motion=group.motion)
        return None

    def _is_read(self, task: Task) -> bool:
        """Whether another worker reads what this task is to read again, or has."""
        group = self._open[task.row.motion]
        return group.reading or group.motion is not None

    def _reads_again(self, motion: str) -> bool:
        """Whether a failed reading of this motion waits for its next try, which counts those before."""
        return any(task.reads and task.row.motion == motion for task in self._again)

    def _ready(self, worker: str) -> Task | None:
        ready = [group for group in self._open.values() if group.ready]
        for face in reversed(self._held.get(worker, ())):
            for group in ready:
                if face in group.rows:
                    return self._make(worker, group, face)
        return self._make(worker, ready[0], next(iter(ready[0].rows))) if ready else None

    def _opened(self, worker: str, workers: int) -> Task | None:
        """Opens the next driving, unless enough are open to keep every worker busy."""
        if not self._closed or len(self._open) > 2 * workers:
            return None
        name, group = self._closed.popleft()
        self._open[name] = group
        face = next(iter(group.rows))
        return self._read(group, group.rows[face][0]) if group.shared else self._make(worker, group, face)

    def _read(self, group: _Group, row: Row, tries: int = 0) -> Task:
        group.reading = True
        group.reads += 1
        return Task(row, reads=True, tries=tries)

    def _make(self, worker: str, group: _Group, face: str) -> Task:
        row = group.rows[face].popleft()
        if not group.rows[face]:
            del group.rows[face]
        self._hold(worker, face)
        return Task(row, motion=group.motion)

    def _hold(self, worker: str, face: str) -> None:
        held = self._held.setdefault(worker, deque(maxlen=FACES_HELD))
        if face in held:
            held.remove(face)
        held.append(face)

    def _reading_ended(self, worker: str, group: _Group, task: Task, outcome: TaskEnd) -> list[Failed]:
        group.reading = False
        if outcome.kind == READ:
            group.motion = outcome.motion
            self.reads += 1
            return []
        if outcome.kind != BAD:
            return self._failed(worker, task, outcome)
        return self._give_up(group, task.row.motion, outcome)

    def _give_up(self, group: _Group, motion: str, outcome: TaskEnd) -> list[Failed]:
        """Every row of a driving that cannot be read."""
        rows = [row for waiting in group.rows.values() for row in waiting]
        rows += [task.row for task in self._again if task.row.motion == motion and not task.reads]
        self._again = [task for task in self._again if task.row.motion != motion]
        group.rows = {}
        for row in rows:
            self._end(row)
        return [Failed(row, outcome) for row in rows]

    def _failed(self, worker: str, task: Task, outcome: TaskEnd) -> list[Failed]:
        """Tries the task again, or gives it up: out of memory first alone on the same worker, then on another."""
        lean = outcome.kind == SHORT_OF_MEMORY and not task.lean
        avoid = task.avoid if lean else task.avoid | {worker}
        final = outcome.kind == BAD or task.tries >= self.retries
        if not final:
            self._again.append(replace(task, tries=task.tries + 1, avoid=avoid, lean=lean, motion=None))
            return []
        if outcome.kind == OUTPUT:
            self.stop(outcome.reason)
        told = outcome if outcome.kind == BAD else replace(outcome, reason=f"{outcome.reason} ({task.tries + 1} tries)")
        if task.reads:
            return self._give_up(self._open[task.row.motion], task.row.motion, told)
        self._end(task.row)
        return [Failed(task.row, told)]

    def _end(self, row: Row) -> None:
        group = self._open[row.motion]
        group.left -= 1
        self._left -= 1
        if not group.left:
            del self._open[row.motion]  # and with it the motion


def _groups(rows: Sequence[Row]) -> dict[str, _Group]:
    """The rows by driving; a driving of one row alone is not read beforehand."""
    lists: dict[str, list[Row]] = {}
    for row in rows:
        lists.setdefault(row.motion, []).append(row)
    groups = {}
    for name, members in lists.items():
        by_face: dict[str, deque[Row]] = {}
        for row in sorted(members, key=lambda row: -row.cost):
            by_face.setdefault(row.face, deque()).append(row)
        shared = len(members) > 1 and members[0].is_film
        groups[name] = _Group(by_face, shared, len(members), max(row.cost for row in members))
    return groups


def frames_in(rows: Iterable[Row]) -> int:
    """About how many frames the rows have in all."""
    return sum(row.cost for row in rows)
