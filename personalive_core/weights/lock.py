"""Hashes of weight files, and the lock file in the weights folder that records them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..errors import OutputError, WeightsError
from ..media.files import whole_file

LOCK_NAME = "weights.lock.json"
LOCK_VERSION = 1
_BLOCK = 1 << 20

_log = logging.getLogger(__name__)


def file_digest(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file's content as `algorithm:hex`; `git-sha1` is git's blob hash, for small files on the hub."""
    digest = hashlib.sha256() if algorithm == "sha256" else hashlib.sha1(usedforsecurity=False)
    if algorithm == "git-sha1":
        digest.update(f"blob {path.stat().st_size}\0".encode())
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return f"{algorithm}:{digest.hexdigest()}"


@dataclass(frozen=True)
class FileRecord:
    """Size, modification time and hash of a file when it was recorded."""

    size: int  # bytes
    mtime_ns: int
    digest: str  # "sha256:..." or "git-sha1:..."

    @classmethod
    def of(cls, path: Path, digest: str | None = None) -> FileRecord:
        """The record of the file as it is now; hashes the file (SHA-256) unless `digest` is given."""
        stat = path.stat()
        return cls(stat.st_size, stat.st_mtime_ns, digest or file_digest(path))

    def same_content(self, path: Path) -> bool:
        """True if the file still has the recorded size and hash; reads the whole file."""
        algorithm = self.digest.partition(":")[0]
        return path.stat().st_size == self.size and file_digest(path, algorithm) == self.digest

    def matches(self, path: Path) -> bool:
        """As `same_content`, but reads the file only if its size or modification time differs from the record."""
        stat = path.stat()
        return (stat.st_size, stat.st_mtime_ns) == (self.size, self.mtime_ns) or self.same_content(path)


@dataclass(frozen=True)
class LockedFile:
    """Origin and record of a downloaded file."""

    repo: str
    revision: str  # the commit, never a branch
    path: str  # in the repository
    record: FileRecord


def read_lock(folder: Path) -> dict[str, LockedFile]:
    """The locked files by path relative to `folder`; empty without a lock file. Raises WeightsError if damaged."""
    path = folder / LOCK_NAME
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != LOCK_VERSION:
            raise ValueError(f"version {content['version']}, expected {LOCK_VERSION}")
        return {
            name: LockedFile(entry["repo"], entry["revision"], entry["path"], FileRecord(**entry["record"]))
            for name, entry in content["files"].items()
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"the lock file {path} cannot be read ({error}): restore it, or delete it to trust the files as they are"
        ) from error


def write_lock(folder: Path, files: Mapping[str, LockedFile]) -> None:
    """Replaces the lock file of `folder` atomically. Raises OutputError if it cannot be written."""
    content = {"version": LOCK_VERSION, "files": {name: asdict(files[name]) for name in sorted(files)}}
    with whole_file(folder / LOCK_NAME, (".json",)) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _refuse(path: Path, locked: LockedFile) -> WeightsError:
    return WeightsError(
        f"{path} is not the file that was downloaded from {locked.repo} (recorded in {LOCK_NAME}: {locked.record.size} "
        f"bytes, {locked.record.digest}; now {path.stat().st_size} bytes): delete it to download it again, or remove "
        f"its entry from {LOCK_NAME} if you replaced it on purpose"
    )


def check_locked(folder: Path, path: Path) -> None:
    """Raises WeightsError if `path` is locked in `folder` and has changed since; unlocked and absent files pass."""
    if path.is_file() and path.is_relative_to(folder):
        locked = read_lock(folder).get(path.relative_to(folder).as_posix())
        if locked and not locked.record.matches(path):
            raise _refuse(path, locked)


def verify(folder: Path) -> tuple[Path, ...]:
    """Hashes every locked file that exists and returns their paths. Raises WeightsError for the first that has changed.

    Modification times that changed are recorded again, so that a copied folder is not hashed at every load. Where the
    folder cannot be written to, a warning says that it is.
    """
    lock = before = read_lock(folder)
    present = {name: folder / name for name in lock if (folder / name).is_file()}
    for name, path in present.items():
        if not lock[name].record.same_content(path):
            raise _refuse(path, lock[name])
        lock = {**lock, name: replace(lock[name], record=FileRecord.of(path, lock[name].record.digest))}
    if lock != before:
        try:
            write_lock(folder, lock)
        except OutputError as error:
            _log.warning("every load hashes the files in %s, as their times cannot be noted: %s", folder, error)
    return tuple(present.values())
