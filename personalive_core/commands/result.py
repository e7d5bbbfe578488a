"""The value that every command returns to the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Text for people, values for programs (in JSON types), and the exit code."""

    text: str
    values: object = None
    code: int = 0
