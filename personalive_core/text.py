"""Helpers for the wording of messages."""

from __future__ import annotations

import logging
from functools import lru_cache
from pathlib import Path


def plural(count: int, noun: str) -> str:
    """The count with its noun: "1 frame", "2 frames"."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def as_argument(path: Path) -> str:
    """The path as an argument of a command that a message names: in quotes if it holds a space."""
    return f'"{path}"' if " " in str(path) else str(path)


@lru_cache(maxsize=1024)
def warn_once(logger: logging.Logger, message: str) -> None:
    """Logs a warning, unless the same was logged before: a film is opened several times."""
    logger.warning("%s", message)
