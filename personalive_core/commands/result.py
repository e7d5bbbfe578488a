"""What a command gives back to the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """Text for people, values for programs (JSON types), the exit code."""

    text: str
    values: object = None
    code: int = 0
