"""Creates the folders that training writes into; every failure raises OutputError."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import OutputError

LONE_SURROGATE = "[\ud800-\udfff]"  # how Python shows the bytes of a name that are no UTF-8


def make_folder(folder: Path) -> Path:
    """Creates `folder` and its missing parents, and returns it. Raises OutputError where that fails.

    A name that is no UTF-8 is refused: safetensors writes into such a folder, but reads nothing from it.
    """
    if re.search(LONE_SURROGATE, str(folder.absolute())):
        raise OutputError(
            f"{folder} has a name that is no UTF-8, from which nothing can be read: choose another --output"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}): choose another --output") from error
    return folder
