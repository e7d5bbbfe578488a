"""Lists files below a folder for a widget's choices: bounded, and read again only where a folder has changed."""

from __future__ import annotations

import logging
import os
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from ...personalive_core.text import warn_once

MOST_FOLDERS = 500  # of one root; ComfyUI asks for the choices at every /object_info
SETTLED = 2 * 10**9  # ns: a folder changed so shortly before it was read may change again within its time's precision

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Folder:
    """What was in a folder."""

    changed: int  # its mtime in ns
    files: tuple[str, ...]  # paths, sorted
    folders: tuple[str, ...]
    settled: bool  # False: read it again


_KNOWN: dict[tuple[str, str], Folder] = {}


def files_below(root: str, suffix: str) -> Iterator[str]:
    """Yields the paths of the files with `suffix` in `root` and below, upper folders first; links are not followed."""
    waiting = deque([root])
    for _ in range(MOST_FOLDERS):
        if not waiting:
            return
        folder = contents(waiting.popleft(), suffix)
        yield from folder.files
        waiting.extend(folder.folders)
    if waiting:
        warn_once(
            _log, f"{root} has more than {MOST_FOLDERS} folders: the {suffix} files in the others are not listed."
        )


def contents(path: str, suffix: str) -> Folder:
    """The files with `suffix` and the folders in `path`; nothing if it cannot be read."""
    try:
        changed = os.stat(path).st_mtime_ns  # noqa: PTH116 - a Path for every folder is slow
        known = _KNOWN.get((path, suffix))
        if known is None or known.changed != changed or not known.settled:
            known = _KNOWN[path, suffix] = read(path, suffix, changed)
    except OSError:
        return Folder(0, (), (), False)
    return known


def read(path: str, suffix: str, changed: int) -> Folder:
    """Reads the folder `path`, whose mtime is `changed`. Raises OSError."""
    files, folders = [], []
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.name.endswith(suffix):
                files.append(entry.path)
            elif not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                folders.append(entry.path)
    return Folder(changed, tuple(sorted(files)), tuple(sorted(folders)), time.time_ns() - changed > SETTLED)
