"""Downloads weight files from the hub into the published layout; resumes, verifies and records in the lock file."""

from __future__ import annotations

import io
import logging
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ..errors import OutputError, WeightsError
from .index import WeightFile, WeightIndex
from .lock import FileRecord, LockedFile, check_locked, file_digest, read_lock, write_lock

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

DownloadProgress = Callable[[WeightFile, int, int], None]  # file, bytes received, bytes in total

_DIGESTS = {64: "sha256", 40: "git-sha1"}  # the hub's ETag is one of the two; its length tells which
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Offer:
    """The hub's metadata of a file, read before the download."""

    url: str
    location: str  # where `url` redirects to: the hub itself or a content delivery network
    size: int
    digest: str
    commit: str


class _Part(io.BufferedWriter):
    """A partial file that reports its length in bytes after each write; raises OutputError if a write fails."""

    def __init__(self, path: Path, report: Callable[[int], None]) -> None:
        super().__init__(io.FileIO(path, "a"))
        self._report = report

    def write(self, buffer: ReadableBuffer, /) -> int:
        try:
            written = super().write(buffer)
        except OSError as error:
            raise OutputError(f"cannot write {self.name} ({error}): free space there or choose another") from error
        self._report(self.tell())
        return written


def download(
    folder: Path,
    files: Iterable[WeightFile],
    *,
    endpoint: str | None = None,
    offline: bool | None = None,
    progress: DownloadProgress | None = None,
) -> None:
    """Downloads `files` to their places in `folder`; keeps the files that are already there.

    A file is downloaded under a temporary name, checked against the hub's hash, then renamed and recorded in the lock
    file. A later call resumes a broken download. A file in the lock file comes from the commit recorded there. If the
    hub lacks a file, the first of its earlier versions that the hub has is downloaded, with a warning.
    `endpoint` and `offline` default to the environment variables HF_ENDPOINT and HF_HUB_OFFLINE. Raises WeightsError
    if a file cannot be downloaded, has the wrong hash or has changed since it was recorded; OutputError if the disk is
    full or the folder cannot be written.
    """
    try:
        from huggingface_hub import constants
        from huggingface_hub.utils import WeakFileLock  # type: ignore[attr-defined]  # documented, not marked
    except ImportError as error:
        raise WeightsError("downloading weights needs huggingface-hub: pip install huggingface-hub") from error
    wanted = tuple(files)
    for version in (version for file in wanted for version in file.versions):
        check_locked(folder, folder / version.place)
    absent = [file for file in wanted if not _is_there(folder, file)]
    if not absent:
        return
    if constants.HF_HUB_OFFLINE if offline is None else offline:
        remedy = f"{'unset HF_HUB_OFFLINE' if offline is None else 'leave --offline out'}, or put these files there"
        report = WeightIndex(folder, wanted, ()).report(absent)
        raise WeightsError(f"weights are missing in offline mode, without downloads: {remedy}\n{report}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(folder / ".weights.download.lock"):  # two processes may start with the same empty folder
            for file in absent:
                if not _is_there(folder, file):
                    _fetch(folder, file, endpoint, progress)
    except OSError as error:
        raise OutputError(f"cannot write weights to {folder} ({error}): free space there or choose another") from error


def _is_there(folder: Path, file: WeightFile) -> bool:
    return any((folder / version.place).exists() for version in file.versions)


def _fetch(folder: Path, wanted: WeightFile, endpoint: str | None, progress: DownloadProgress | None) -> None:
    lock = read_lock(folder)
    file, offer = _offered(wanted, lock, endpoint)
    locked = lock.get(file.place)
    if locked and locked.record.digest != offer.digest:
        raise WeightsError(
            f"{offer.url} offers {offer.digest}, but the lock file records {locked.record.digest} for {file.place}: "
            "use the endpoint that it came from, or remove its entry from the lock file if you want the new one"
        )
    target = folder / file.place
    target.parent.mkdir(parents=True, exist_ok=True)
    # The name contains the hash, so that the rest of one version is never appended to the beginning of another.
    part = target.with_name(f"{target.name}.{offer.digest[-16:]}.part")
    _receive(offer, part, partial(progress, file) if progress else lambda _done, _total: None)
    if file_digest(part, offer.digest.partition(":")[0]) != offer.digest:
        part.unlink()
        raise WeightsError(f"{offer.url} sent {file.place} with another hash than the hub promised: download it again")
    part.replace(target)
    record = FileRecord.of(target, offer.digest)
    write_lock(folder, {**lock, file.place: LockedFile(file.repo, offer.commit, file.path, record)})
    _log.info("downloaded %s", target)


def _offered(wanted: WeightFile, lock: Mapping[str, LockedFile], endpoint: str | None) -> tuple[WeightFile, _Offer]:
    """The best version of the file that the hub has. Raises WeightsError, which names the best if it has none."""
    from huggingface_hub.utils import EntryNotFoundError  # type: ignore[attr-defined]  # documented, not marked

    absent: list[WeightsError] = []
    for file in wanted.versions:
        locked = lock.get(file.place)
        try:
            offer = _ask(file, locked.revision if locked else file.revision, endpoint)
        except WeightsError as error:
            if not isinstance(error.__cause__, EntryNotFoundError):
                raise
            absent.append(error)
        else:
            if absent:
                _log.warning("%s has no %s: its earlier version %s is taken", wanted.repo, wanted.path, file.path)
            return file, offer
    raise absent[0]


def _ask(file: WeightFile, revision: str, endpoint: str | None) -> _Offer:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    url = hf_hub_url(file.repo, file.path, revision=revision, endpoint=endpoint)
    with _network(url):
        found = get_hf_file_metadata(url)
    algorithm = _DIGESTS.get(len(found.etag or ""))
    if algorithm is None or found.commit_hash is None or found.size is None:
        raise WeightsError(f"{url} tells no hash, size or commit to check {file.place} by: use another endpoint")
    return _Offer(url, found.location, found.size, f"{algorithm}:{found.etag}", found.commit_hash)


def _receive(offer: _Offer, part: Path, report: Callable[[int, int], None]) -> None:
    from huggingface_hub.file_download import http_get  # hf_hub_download restarts from zero in a new process
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]  # documented, not marked

    if part.exists() and part.stat().st_size > offer.size:
        part.unlink()
    there = part.stat().st_size if part.exists() else 0
    free = shutil.disk_usage(part.parent).free
    if free < offer.size - there:
        raise OutputError(f"{part.parent} has {free} bytes free, {offer.size - there} are needed: free some space")
    same_host = urlsplit(offer.url).netloc == urlsplit(offer.location).netloc  # the user's token goes to the hub only
    headers = build_hf_headers(token=None if same_host else False)
    with _Part(part, lambda done: report(done, offer.size)) as file, _network(offer.url):
        while there < offer.size:
            try:
                http_get(offer.location, file, resume_size=there, headers=headers, expected_size=offer.size)
            except Exception as error:
                # huggingface_hub before 1.0 raises this error of requests for a cut connection, and does not go on.
                if type(error).__name__ != "ChunkedEncodingError" or file.tell() == there:
                    raise
            there = file.tell()


@contextmanager
def _network(url: str) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except Exception as error:  # versions of huggingface-hub use different HTTP libraries and errors
        cause = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise WeightsError(
            f"{url} could not be downloaded ({cause}): try again, it continues where it stopped; or name a mirror in "
            "HF_ENDPOINT"
        ) from error
