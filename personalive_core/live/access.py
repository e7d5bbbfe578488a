"""Who may use the live connection: the page's own origin, a name of this machine on loopback, the session's token."""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[\\/](?:[^\s\\/:;,'\"]+[\\/])*")


def why_refused(headers: Mapping[str, str], loopback: bool) -> str | None:
    """Why a request with these headers is refused, for its sender; None if it is not.

    A browser sends Origin with every WebSocket: it must be the page's own. On loopback the Host must be a name of this
    machine: otherwise any site could point a name of its own at it (DNS rebinding).
    """
    host = headers.get("Host", "").lower()
    if loopback and not is_loopback(urlsplit(f"//{host}").hostname or ""):
        return "this server answers only to localhost"
    origin = headers.get("Origin")
    if origin is not None and urlsplit(origin.lower()).netloc != host:
        return "pages of other origins are refused"
    return None


def is_loopback(name: str) -> bool:
    """Whether the host `name` is always this machine."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def is_token(given: object, token: str) -> bool:
    """Whether `given` is the token; takes the same time wherever they differ."""
    return isinstance(given, str) and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def without_paths(text: str, folders: Sequence[Path] = ()) -> str:
    """A sentence for the page: files by their names alone. `folders` are known ones, whose names may hold spaces."""
    for folder in sorted({str(folder) for folder in folders}, key=len, reverse=True):
        if len(folder) > 1:
            text = text.replace(f"{folder}/", "").replace(f"{folder}\\", "").replace(folder, "the folder")
    return _FOLDERS.sub("", text)
