"""What a cluster's batch leaves on the disk: whole results under their own names, and the journal that says which."""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from uuid import uuid4

from ..errors import OutputError
from ..media.files import put_in_place
from .board import Failed, Row, Task
from .journal import CLUSTER_JOURNAL, DONE, FAILED, Record, read_journal, write_record

UNFINISHED = ".unfinished"  # folder of the files that are being made; results move out of it when they are whole
LOCK = ".lock"  # in the output folder
PARTIAL = ".partial"  # in the name of a file that a writer has not closed
TRY_LETTERS = 8


@dataclass(frozen=True)
class Ledger:
    """The output folder of one batch."""

    output: Path
    suffix: str  # of the results: ".mp4"; a row may have its own
    records: dict[str, Record] = field(default_factory=dict)  # key -> newest record of this run's rows
    locks: list[IO[str]] = field(default_factory=list)  # open as long as the batch runs

    def open(self, rows: Iterable[Row]) -> tuple[Row, ...]:
        """Returns the rows that are left to do; results that an earlier run finished, but could not note, are taken.

        Raises OutputError if the folder cannot be made or written to.
        """
        rows, before = tuple(rows), self._before()
        self._lock()
        whole = self._whole_by_key()
        left = []
        for row in rows:
            record = before.get(row.key)
            if record is not None and record.is_whole(self.output):
                self.records[row.key] = record
            elif (row.key, self._suffix(row)) in whole:
                self.finish(row, "an earlier run", whole[row.key, self._suffix(row)])
            else:
                left.append(row)
        self.clean()
        try:
            (self.output / UNFINISHED).mkdir()
        except OSError as error:
            raise OutputError(f"{self.output} cannot be written to ({error.strerror}): choose another.") from error
        return tuple(left)

    def _lock(self) -> None:
        """Keeps other batches out of the folder as long as this program runs; where the system has such locks."""
        try:
            import fcntl
        except ImportError:  # Windows
            return
        file = (self.output / LOCK).open("w")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.close()
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                return  # a file system without locks
            raise OutputError(f"another batch writes to {self.output}: wait for it, or choose another") from error
        self.locks.append(file)

    def place(self, task: Task) -> Path:
        """The file that one try of a row is to make: no two tries write the same, even if a lost worker goes on."""
        return self.output / UNFINISHED / f"{task.row.key}~{uuid4().hex[:TRY_LETTERS]}{self._suffix(task.row)}"

    def finish(self, row: Row, worker: str, place: Path) -> Record:
        """Gives a finished file its own name and notes it. Raises OutputError where that fails."""
        final = self.output / f"{row.name}{self._suffix(row)}"
        put_in_place(place, final)
        record = Record(row.key, row.name, DONE, worker, place.stem.rpartition("~")[2], {final.name: _size(final)})
        return self._note(record)

    def fail(self, failed: Failed, worker: str) -> Record:
        """Notes a row that is given up."""
        row, outcome = failed.row, failed.outcome
        return self._note(Record(row.key, row.name, FAILED, worker, "", {}, outcome.reason))

    def leave(self, rows: Iterable[Row], reason: str) -> None:
        """Counts rows that were not begun as failed, for this run's result; a later run begins them."""
        for row in rows:
            self.records.setdefault(row.key, Record(row.key, row.name, FAILED, "-", "", {}, reason))

    def clean(self) -> None:
        """Removes unfinished files."""
        shutil.rmtree(self.output / UNFINISHED, ignore_errors=True)

    def close(self) -> None:
        """Cleans, and lets other batches in."""
        self.clean()
        while self.locks:
            self.locks.pop().close()

    def _note(self, record: Record) -> Record:
        try:
            write_record(self.output, record, CLUSTER_JOURNAL)
        except OSError as error:
            raise OutputError(
                f"{self.output / CLUSTER_JOURNAL} cannot be written ({error.strerror}): free space, then run the same "
                "command again, which keeps what is finished."
            ) from error
        self.records[record.key] = record
        return record

    def _before(self) -> Mapping[str, Record]:
        try:
            self.output.mkdir(parents=True, exist_ok=True)
            return read_journal(self.output, CLUSTER_JOURNAL)
        except OSError as error:
            raise OutputError(f"{self.output} cannot be written to ({error.strerror}): choose another.") from error

    def _suffix(self, row: Row) -> str:
        return row.suffix or self.suffix

    def _whole_by_key(self) -> dict[tuple[str, str], Path]:
        """Finished files that have not got their names, by key and suffix."""
        with contextlib.suppress(FileNotFoundError):
            found = sorted((self.output / UNFINISHED).iterdir())
            return {(path.stem.partition("~")[0], path.suffix): path for path in found if _is_result(path)}
        return {}


def names_taken(output: Path) -> dict[str, str]:
    """The names of earlier runs' results by key, which their rows keep."""
    records = read_journal(output, CLUSTER_JOURNAL) if output.is_dir() else {}
    return {key: record.name for key, record in records.items() if record.state == DONE}


def _is_result(path: Path) -> bool:
    return "~" in path.stem and PARTIAL not in path.stem


def _size(path: Path) -> int:
    return path.stat().st_size
