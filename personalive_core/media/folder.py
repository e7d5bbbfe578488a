"""Lists the files of a folder that can be used, and tells which were left out and why."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import InputError
from ..text import plural, warn_once

MOST_NAMED = 5  # files in one message
SYSTEM_FILES = ("thumbs.db", "desktop.ini")  # as names that begin with a dot, left out without a word
# Pictures that are often in such folders, but that neither this project nor every ComfyUI reads.
OTHER_PICTURES = (".heic", ".heif", ".hif", ".avif", ".jxl", ".psd", ".svg")

_log = logging.getLogger(__name__)


def folder_files(folder: Path, suffixes: tuple[str, ...], kind: str, deep: bool = False) -> list[Path]:
    """The files in `folder` with one of the `suffixes` (lower case, with dot), sorted.

    One warning names the files that are left out and why.

    Args:
        folder: the folder.
        suffixes: those that are used.
        kind: what these files are, in messages: "picture", "video" or "picture or video".
        deep: look into subfolders too.

    Raises:
        InputError: there is no such folder, it cannot be read or holds no such file.
    """
    kinds = " or ".join(f"{one}s" for one in kind.split(" or "))
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder: give the folder that holds the {kinds}.")
    try:
        found = sorted(path for path in (folder.rglob("*") if deep else folder.iterdir()) if not path.is_dir())
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be read ({error.strerror}): check its permissions.") from error
    files, left_out = [], {}
    for path in found:
        name = path.relative_to(folder)
        if path.suffix.lower() in suffixes and path.is_file() and not _is_silent(name):
            files.append(path)
        elif not _is_silent(name):
            left_out[str(name)] = _why(path, suffixes, kind)
    if not files:
        beside = f", only {_listed(left_out)}" if left_out else ""
        raise InputError(f"The folder {folder} holds no {kinds} ({', '.join(suffixes)}){beside}: choose another.")
    if left_out:
        were = "was" if len(left_out) == 1 else "were"
        warn_once(_log, f"{folder}: {plural(len(left_out), 'file')} {were} left out: {_listed(left_out)}")
    return files


def _is_silent(path: Path) -> bool:
    """Whether nobody expects the file to be used: hidden, in a hidden folder, or put there by the system."""
    return any(part.startswith(".") for part in path.parts) or path.name.lower() in SYSTEM_FILES


def _why(path: Path, suffixes: tuple[str, ...], kind: str) -> str:
    suffix = path.suffix.lower()
    if suffix in suffixes:
        return "a link that leads nowhere"
    if not suffix:
        return "no suffix says what it is"
    remedy = ": save it as PNG or JPEG" if "picture" in kind and suffix in OTHER_PICTURES else ""
    what = "picture" if remedy else kind
    return f"{suffix} is no {what} that can be read here{remedy}"


def _listed(left_out: dict[str, str]) -> str:
    named = [f"{name} ({reason})" for name, reason in [*left_out.items()][:MOST_NAMED]]
    more = len(left_out) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
