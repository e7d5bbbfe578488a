"""The journal of a batch: one line per change of a job's state, read again after a crash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

JOURNAL = "submit.jsonl"  # in the output folder
CLUSTER_JOURNAL = "batch.jsonl"  # the same of `personalive batch`
POSTED, DONE, FAILED = "posted", "done", "failed"


@dataclass(frozen=True)
class Record:
    """A line of the journal: the newest state of one job."""

    key: str
    name: str  # folder under the output folder
    state: str  # POSTED, DONE or FAILED
    server: str  # of a cluster the worker
    prompt_id: str  # of a cluster the number of the try
    files: Mapping[str, int]  # path under the output folder -> size in bytes; when DONE
    reason: str = ""  # when FAILED

    def is_whole(self, output: Path) -> bool:
        """True if the job is done and each of its files still exists with its recorded size."""
        return self.state == DONE and all(
            (output / name).is_file() and (output / name).stat().st_size == size for name, size in self.files.items()
        )


def read_journal(output: Path, name: str = JOURNAL) -> dict[str, Record]:
    """The newest record of each job, by key; a line that a crash cut short is skipped. `name` is the file's."""
    path = output / name
    records = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            record = Record(**json.loads(line))
        except (ValueError, TypeError):
            continue
        records[record.key] = record
    return records


def write_record(output: Path, record: Record, name: str = JOURNAL) -> None:
    """Appends one line. It begins with a line break, so that a line cut short by a crash does not damage the next."""
    with (output / name).open("a", encoding="utf-8") as file:
        file.write(f"\n{json.dumps(asdict(record))}")
