"""Interprets ComfyUI's replies about a job: refused, failed, cancelled, or done with its output files."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

from ..errors import PersonaLiveError
from .rows import Prompt, node_title


class JobInterruptedError(PersonaLiveError):
    """The job was cancelled on the server; it may be tried again."""


class JobError(PersonaLiveError):
    """The server refused the job or a node failed; another try would fail in the same way."""


@dataclass(frozen=True)
class RemoteFile:
    """An output file of a job, on the server."""

    node: str
    filename: str
    subfolder: str
    kind: str  # "output" or "temp"


def ended_well(entry: Mapping[str, Any]) -> bool:
    """True if the history entry of a finished job reports success."""
    return bool((entry.get("status") or {}).get("status_str") == "success")


def check_ended_well(entry: Mapping[str, Any], prompt: Prompt) -> None:
    """Checks the history entry of a finished job.

    Raises:
        JobInterruptedError: the job was cancelled.
        JobError: a node failed, or the server reports a failure without a reason.
    """
    events = dict((entry.get("status") or {}).get("messages") or ())
    if "execution_interrupted" in events:
        raise JobInterruptedError("it was cancelled on the server")
    if error := events.get("execution_error"):
        node = str(error.get("node_id"))
        named = node_title(prompt, node) if node in prompt else error.get("node_type")
        raise JobError(f"{named} ({node}): {first_line(error.get('exception_message'))}")
    if not ended_well(entry):
        raise JobError("the server says that it failed, but not why: look at its log")


def refusal(reply: Mapping[str, Any], prompt: Prompt) -> str:
    """The reason why the server refuses the workflow: the first error of each node, with the node's title."""
    complaints = []
    for node, found in (reply.get("node_errors") or {}).items():
        first: Mapping[str, Any] = next(iter(found.get("errors") or ()), {})
        said = ": ".join(first_line(first[part]) for part in ("message", "details") if first.get(part))
        complaints.append(f"{node_title(prompt, node)} ({node}): {said}")
    error = reply.get("error") or {}
    general = first_line(error.get("message") if isinstance(error, dict) else error)
    return "; ".join(complaints) or general


def outputs(entry: Mapping[str, Any]) -> tuple[RemoteFile, ...]:
    """The files that the job wrote into the output folder; if there are none, its temporary previews."""
    found = tuple(
        dict.fromkeys(
            RemoteFile(node, item["filename"], item.get("subfolder") or "", item["type"])
            for node, shown in (entry.get("outputs") or {}).items()
            for item in _files_in(shown)
        )
    )
    return tuple(file for file in found if file.kind == "output") or tuple(f for f in found if f.kind == "temp")


def _files_in(shown: object) -> Iterator[dict[str, Any]]:
    """Yields every dict in a node's output that names a file, at any depth: each node pack nests them differently."""
    if isinstance(shown, dict):
        if isinstance(shown.get("filename"), str) and isinstance(shown.get("type"), str):
            yield shown
        shown = list(shown.values())
    if isinstance(shown, list):
        for part in shown:
            yield from _files_in(part)


def local_names(files: Sequence[RemoteFile]) -> dict[str, RemoteFile]:
    """The local name of each file: its own name, with the node's id in front if two are the same; never a path.

    Raises:
        JobError: the server gives a name that cannot be a file's name.
    """
    names: dict[str, RemoteFile] = {}
    for file in files:
        own = PureWindowsPath(file.filename).name  # splits at / and \\, and drops a drive letter
        if own in ("", ".."):
            raise JobError(f"the server names a file {file.filename!r}, which cannot be a file's name")
        tries = (own, f"{file.node}_{own}".replace(":", "_"), f"{len(names)}_{own}")
        names[next(name for name in tries if name.casefold() not in {n.casefold() for n in names})] = file
    return names


def reason(error: Exception) -> str:
    """A short description of a network error; some of these errors have no message."""
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return first_line(error) or type(error).__name__


def first_line(text: object) -> str:
    """The first line that is not blank, as ComfyUI's page shows errors; empty if there is none."""
    return next(iter(str(text or "").strip().splitlines()), "")
