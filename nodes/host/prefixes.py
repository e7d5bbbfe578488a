"""The text of filename_prefix: dates in it are filled, and what can be no file name is refused."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from ...personalive_core.errors import InputError

MOST_NAME_BYTES = 200  # bytes; file systems take 255, and a number and a suffix follow
MOST_BYTES = 1000  # bytes of the whole prefix
WIDGET = "filename_prefix"

_DATE = re.compile(r"%date:([^%]+)%")
_PART = re.compile(r"yyyy|yy|MM?|dd?|hh?|mm?|ss?")


def plain_prefix(prefix: Any, now: datetime) -> str:
    """`prefix` with every %date:yyyy-MM-dd% filled: ComfyUI's page does so when it queues, programs do not.

    Other patterns, such as %width%, are left. Raises InputError for what is no text, names no file, is too long or has
    characters that no file name may have.
    """
    if not isinstance(prefix, str):
        raise InputError(f"{WIDGET} is {str(prefix)[:40]}, which is no text: connect a text, such as video/PersonaLive")
    if any(ord(letter) < ord(" ") or "\ud800" <= letter <= "\udfff" for letter in prefix):
        raise InputError(
            f"{WIDGET} has a character that no file name may have: type it anew, such as video/PersonaLive"
        )
    text = _DATE.sub(lambda found: _date(found[1], now), prefix)
    names = re.split(r"[/\\]", text)
    if len(text.encode()) > MOST_BYTES or max(len(name.encode()) for name in names) > MOST_NAME_BYTES:
        raise InputError(
            f"{WIDGET} has {len(text)} letters: write at most {MOST_NAME_BYTES} for each folder and for the name"
        )
    if not text.rstrip("/\\ .") or names[-1] in (".", ".."):
        raise InputError(f"{WIDGET} {prefix!r} names no file: write a name, such as video/PersonaLive")
    return text


def _date(form: str, now: datetime) -> str:
    """`now` as the page of ComfyUI writes it: yyyy, yy, MM, dd, hh, mm, ss, or one letter without leading zeros."""
    values = {"y": now.year, "M": now.month, "d": now.day, "h": now.hour, "m": now.minute, "s": now.second}
    return _PART.sub(lambda part: f"{values[part[0][0]]:0{len(part[0])}}"[-max(len(part[0]), 2) :], form)
