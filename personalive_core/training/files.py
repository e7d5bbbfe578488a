"""Folders that training writes into, with one kind of error where they cannot be made."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError


def make_folder(folder: Path) -> Path:
    """`folder`, made with those above it where they are missing. Raises OutputError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}): choose another --output") from error
    return folder
