"""Creates the folders that training writes into; every failure raises OutputError."""

from __future__ import annotations

from pathlib import Path

from ..errors import OutputError


def make_folder(folder: Path) -> Path:
    """Creates `folder` and its missing parents, and returns it. Raises OutputError where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}): choose another --output") from error
    return folder
