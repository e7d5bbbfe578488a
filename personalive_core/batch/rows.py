"""Reads the rows of a batch and sets their files and values in the inputs of a workflow's nodes."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..media.folder import folder_files
from ..media.heif import HEIF_SUFFIXES
from ..media.picture import PICTURE_SUFFIXES
from ..media.video import VIDEO_SUFFIXES
from .journal import JOURNAL
from .table import Columns, read_table

Node = dict[str, Any]  # {"class_type": ..., "inputs": {...}, "_meta": {"title": ...}}, as ComfyUI exports it
Prompt = dict[str, Node]  # a workflow in API format, by node id

LOADERS: Mapping[str, str] = {"reference": "LoadImage", "driving": "LoadVideo"}
FILE_INPUTS = ("image", "file", "video")  # the names that loader nodes use for the input that takes the file
REMOTE_FOLDER = "personalive"  # under the server's input folder
LONGEST_STEM = 80  # characters of a file's name in its row's name
LONGEST_NAME, LONGEST_PART = 240, 118  # bytes; with a counter a name stays below the file systems' limit of 255
NO_NAMES = (".", "..", JOURNAL)  # what a row's folder cannot be called
HASH_LETTERS = 16
CHUNK = 2**20  # bytes


@dataclass(frozen=True)
class BatchRow:
    """The files and values of one job; the rest of the workflow is the same for all jobs."""

    files: Mapping[str, Path]  # "reference" and "driving", or one of them
    values: tuple[tuple[str, str], ...] = ()  # ("6.seed", "42")


@dataclass(frozen=True)
class BatchJob:
    """The workflow with the files and values of one row."""

    name: str  # its folder under the output folder
    key: str  # hash of everything that the result and its name depend on
    prompt: Prompt
    uploads: Mapping[str, Path]  # name in REMOTE_FOLDER on the server -> local file


def folder_rows(folders: Mapping[str, Path], nodes: Mapping[str, Node]) -> tuple[BatchRow, ...]:
    """One row for every combination of the folders' files; `folders` and `nodes` (the loader nodes) are given by role.

    Raises:
        InputError: a folder is missing or holds no file for its node.
    """
    listed = [_listed(folder, nodes[role]["class_type"]) for role, folder in folders.items()]
    return tuple(BatchRow(dict(zip(folders, files, strict=True))) for files in itertools.product(*listed))


def _listed(folder: Path, loader: str) -> list[Path]:
    pictures = tuple(suffix for suffix in PICTURE_SUFFIXES if suffix not in HEIF_SUFFIXES)  # few ComfyUIs read these
    kinds = {"LoadImage": (pictures, "picture"), "LoadVideo": (VIDEO_SUFFIXES, "video")}
    return folder_files(folder, *kinds.get(loader, ((*pictures, *VIDEO_SUFFIXES), "picture or video")))


def csv_rows(path: Path) -> tuple[BatchRow, ...]:
    """The rows of a CSV table, see `read_table`; an empty cell keeps the workflow's value.

    Raises:
        InputError: as `read_table`.
    """
    columns = Columns((*LOADERS,), _is_target, "NODE.INPUT as in 6.seed")
    return tuple(BatchRow(row.files, tuple(row.values.items())) for row in read_table(path, columns))


def _is_target(name: str) -> bool:
    node, _, key = name.rpartition(".")
    return bool(node and key)


def read_workflow(path: Path) -> Prompt:
    """Reads a workflow in API format.

    Raises:
        InputError: the file cannot be read, or is in the format that ComfyUI's page saves.
    """
    try:
        workflow = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read as a workflow ({error}): export it from ComfyUI again.") from error
    if isinstance(workflow, dict) and "nodes" in workflow:
        raise InputError(
            f"{path} is a workflow as the page saves it, but the API format is needed: open it in ComfyUI, choose "
            'Workflow > Export (API), in older versions "Save (API format)", and give that file.'
        )
    nodes = workflow.values() if isinstance(workflow, dict) else [None]
    if not workflow or not all(
        isinstance(node, dict) and "class_type" in node and isinstance(node.get("inputs"), dict) for node in nodes
    ):
        raise InputError(f"{path} is no workflow in API format: in ComfyUI choose Workflow > Export (API).")
    return dict(workflow)


def node_title(prompt: Mapping[str, Node], node: str) -> str:
    """The title that ComfyUI's page shows for the node; without one, its class."""
    found = prompt.get(node, {})
    return str(found.get("_meta", {}).get("title") or found.get("class_type", "unknown node"))


def find_node(prompt: Prompt, name: str) -> str:
    """The id of the node whose id, or else whose title, is `name`.

    Raises:
        InputError: no node, or more than one, has it.
    """
    found = [name] if name in prompt else [node for node in prompt if node_title(prompt, node) == name]
    if len(found) != 1:
        count = "no node has" if not found else f"{len(found)} nodes have"
        there = ", ".join(f"{node} ({node_title(prompt, node)})" for node in found or prompt)
        raise InputError(f"{count} the id or title {name!r}: give one of the ids {there}.")
    return found[0]


def loader_node(prompt: Prompt, role: str, name: str | None = None) -> str:
    """The id of the node that loads the reference or the driving video; `name` is its id or title, if the user gave it.

    Raises:
        InputError: it is not clear which node is meant.
    """
    if name is not None:
        return find_node(prompt, name)
    titled = [node for node in prompt if role in node_title(prompt, node).lower()]
    loaders = [node for node in prompt if prompt[node]["class_type"] == LOADERS[role]]
    # A driving picture is loaded by a LoadImage too; its title tells it apart.
    found = loaders or [node for node in titled if prompt[node]["class_type"] == "LoadImage"]
    if len(found) > 1:
        found = [node for node in found if node in titled]
    if len(found) != 1:
        raise InputError(
            f'the workflow has {len(loaders)} {LOADERS[role]} nodes, and not one alone with "{role}" in its title: '
            f"say which node loads the {role} with --{role}-node ID."
        )
    return found[0]


def with_input(prompt: Prompt, node: str, name: str, value: object) -> Prompt:
    """A copy of the workflow with one input set to `value`."""
    return {**prompt, node: {**prompt[node], "inputs": {**prompt[node]["inputs"], name: value}}}


def with_value(prompt: Prompt, target: str, text: str) -> Prompt:
    """A copy of the workflow with `target` ("NODE.INPUT") set to `text`, converted to the type of the current value.

    Raises:
        InputError: there is no such node or input, or `text` cannot be converted.
    """
    name, _, key = target.rpartition(".")
    node = find_node(prompt, name)
    inputs = prompt[node]["inputs"]
    if key not in inputs:
        raise InputError(
            f"{node_title(prompt, node)} ({node}) has no input {key!r}: it has {', '.join(inputs) or 'none'}."
        )
    return with_input(prompt, node, key, _typed(target, text, inputs[key]))


def _typed(target: str, text: str, old: object) -> object:
    if isinstance(old, str):
        return text
    try:
        value = json.loads(text.lower() if isinstance(old, bool) else text)
    except ValueError:
        value = text
    if isinstance(old, bool):
        kind, fits = "true or false", isinstance(value, bool)
    elif isinstance(old, (int, float)):
        kind, fits = "a number", isinstance(value, (int, float)) and not isinstance(value, bool)
    else:
        return value  # a link, which the value replaces
    if not fits:
        raise InputError(f"{target} takes {kind}, now {old!r}, but got {text!r}: change the value.")
    return value


def make_jobs(
    prompt: Prompt, rows: Sequence[BatchRow], nodes: Mapping[str, str], taken: Mapping[str, str]
) -> tuple[BatchJob, ...]:
    """One job for each distinct row; `nodes` maps a role to its loader node, `taken` a key to its name in earlier runs.

    Raises:
        InputError: a file cannot be read, a value cannot be set, or a loader names its file in an unknown input.
    """
    hashes = {path: _content_hash(path) for path in {path for row in rows for path in row.files.values()}}
    names = dict(taken)
    jobs = {}
    for row in rows:
        placed, uploads = _placed(prompt, row, nodes, hashes)
        stem = row_stem(row)
        key = _key(placed, stem)
        names.setdefault(key, _free(stem, names.values()))
        jobs[key] = BatchJob(names[key], key, _with_own_prefixes(placed, key), uploads)
    return tuple(jobs.values())


def row_stem(row: BatchRow) -> str:
    """What a row's name begins with: the names of its files without suffixes."""
    parts = [row.files[role].stem[:LONGEST_STEM] for role in LOADERS if role in row.files]
    if len(os.fsencode("__".join(parts))) > LONGEST_NAME:
        parts = [_shortened(part) for part in parts]
    return "__".join(parts)


def _shortened(name: str) -> str:
    """The first letters of `name` that fit into LONGEST_PART bytes."""
    fits = (end for end in range(len(name), -1, -1) if len(os.fsencode(name[:end])) <= LONGEST_PART)
    return name[: next(fits)]


def _placed(
    prompt: Prompt, row: BatchRow, nodes: Mapping[str, str], hashes: Mapping[Path, str]
) -> tuple[Prompt, dict[str, Path]]:
    uploads = {}
    for target, text in row.values:
        prompt = with_value(prompt, target, text)
    for role, path in row.files.items():
        node = nodes[role]
        name = next((name for name in FILE_INPUTS if name in prompt[node]["inputs"]), None)
        if name is None:
            raise InputError(
                f"{node_title(prompt, node)} ({node}) has none of the inputs {', '.join(FILE_INPUTS)}: "
                f"choose a node that loads the {role} with --{role}-node."
            )
        suffix = path.suffix.lower()
        remote = f"{hashes[path]}{suffix if suffix[1:].isalnum() and suffix.isascii() else ''}"
        prompt = with_input(prompt, node, name, f"{REMOTE_FOLDER}/{remote}")
        uploads[remote] = path
    return prompt, uploads


def _with_own_prefixes(prompt: Prompt, key: str) -> Prompt:
    """Appends `key` to every filename prefix, so that files of different rows never share a name on the server."""
    for node, found in prompt.items():
        prefix = found["inputs"].get("filename_prefix")
        if isinstance(prefix, str):
            prompt = with_input(prompt, node, "filename_prefix", f"{prefix}_{key}")
    return prompt


def _key(prompt: Prompt, stem: str) -> str:
    parts = {node: {"class_type": found["class_type"], "inputs": found["inputs"]} for node, found in prompt.items()}
    return hashlib.sha256(json.dumps([stem, parts], sort_keys=True).encode()).hexdigest()[:HASH_LETTERS]


def _free(stem: str, taken: Iterable[str]) -> str:
    """`stem`, if needed with the first number that makes it unique; some file systems do not distinguish A from a."""
    used = {name.casefold() for name in (*NO_NAMES, *taken)}
    names = itertools.chain([stem], (f"{stem}_{number}" for number in itertools.count(2)))
    return next(name for name in names if name.casefold() not in used)


def _content_hash(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): check the file.") from error
    return digest.hexdigest()[: 2 * HASH_LETTERS]
