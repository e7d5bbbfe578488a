"""Finds the weight files of a table in a weights folder, and reads them as states."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ..errors import WeightsError
from .lock import FileRecord, check_locked
from .read import State, TensorInfo, read_infos, read_metadata

SOURCES_KEY = "personalive_sources"  # header key of our converted files: the records of the files they were made from


@dataclass(frozen=True)
class WeightFile:
    """One file on the hub."""

    network: str  # the network that loads the file
    repo: str
    path: str  # in the repository
    place: str  # path in the published layout, relative to the weights folder
    licence: str
    revision: str = "main"
    required: bool = True  # needed for an animation with the default options
    supplies: str = ""  # part of this file's keys; if another file has such keys, this one is optional
    renames: tuple[tuple[str, str], ...] = ()  # (old, new) names of layers in attention blocks
    older: tuple[str, ...] = ()  # names beside `path` of earlier versions, which serve where this one is missing

    @property
    def is_config(self) -> bool:
        return self.path.endswith(".json")

    @property
    def versions(self) -> tuple[WeightFile, ...]:
        """This file and its earlier versions, best first."""
        path, place = PurePosixPath(self.path), PurePosixPath(self.place)
        earlier = ((str(path.with_name(name)), str(place.with_name(name))) for name in self.older)
        return (self, *(replace(self, path=there, place=here, older=()) for there, here in earlier))


# Alternative file names of the same weights; the first one that exists is read.
_DIFFUSERS = ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
_NAMES = {
    "diffusion_pytorch_model.safetensors": _DIFFUSERS,
    "diffusion_pytorch_model.bin": _DIFFUSERS,
    "pytorch_model.bin": ("model.safetensors", "pytorch_model.bin"),
}
_FLAT = (".pth", ".onnx")  # descriptive file names: these files may also lie directly in the weights folder


@dataclass(frozen=True)
class Found:
    """A file of the table and the paths where it was found."""

    file: WeightFile
    paths: tuple[Path, ...]  # all of its names in the first folder that holds it, best first; empty if missing


@dataclass(frozen=True)
class WeightIndex:
    """The files of the table, with the paths where each was found in a weights folder."""

    folder: Path
    files: tuple[WeightFile, ...]  # the table
    found: tuple[Found, ...]  # in the same order

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks of the table, in its order."""
        return tuple(dict.fromkeys(file.network for file in self.files))

    def of(self, network: str) -> tuple[Found, ...]:
        """The files of one network. Raises WeightsError for an unknown name."""
        if network not in self.networks:
            raise WeightsError(f"there is no network {network!r}: the networks are {', '.join(self.networks)}")
        return tuple(found for found in self.found if found.file.network == network)

    def missing(self, networks: Iterable[str]) -> tuple[WeightFile, ...]:
        """The files that `networks` need and the folder lacks."""
        return tuple(
            found.file
            for network in networks
            for found in self.of(network)
            if not found.paths and not self._brought(found.file)
        )

    def _brought(self, file: WeightFile) -> bool:
        """True if another file of the network holds the keys that `file` supplies, or was converted from `file`."""
        if not file.supplies:
            return False
        others = [found.paths[0] for found in self.of(file.network) if found.paths]
        return any(
            PurePosixPath(file.path).name in converted_from(path)
            or any(file.supplies in key for key in read_infos(path))
            for path in others
        )

    def require(self, networks: Iterable[str]) -> None:
        """Raises WeightsError if a file is missing; it lists each one, where it was searched and where to get it."""
        missing = self.missing(networks)
        if missing:
            raise WeightsError(f"weights are missing: download them, or say where they are\n{self.report(missing)}")

    def report(self, files: Iterable[WeightFile]) -> str:
        """One line for each file: its network, its repository, and every path that was searched."""
        return "\n".join(
            f"- {file.place} for {file.network}, from the hub's {file.repo} ({file.path}); looked for "
            + ", ".join(str(path) for path in candidates(self.folder, file, self.files))
            + f", and in the snapshots of a hub cache, {_snapshots(self.folder, file)}"
            for file in files
        )

    def config(self, network: str) -> Path:
        """The path of the network's config.json. Raises WeightsError if it is missing or the network has none."""
        return self._only(network, [found for found in self.of(network) if found.file.is_config])

    def path(self, network: str) -> Path:
        """The path of a network's single weights file, such as yunet's. Raises WeightsError if missing or not one."""
        return self._only(network, [found for found in self.of(network) if not found.file.is_config])

    def _only(self, network: str, found: list[Found]) -> Path:
        self.require([network])
        if len(found) != 1:
            raise WeightsError(f"{network} has {len(found)} such files, expected one: ask for a network that has one")
        check_locked(self.folder, found[0].paths[0])
        return found[0].paths[0]


def locate(folder: Path, files: Sequence[WeightFile]) -> WeightIndex:
    """Searches `folder` for the `files` of a table, as `candidates` says. Raises WeightsError if it is no folder."""
    if not folder.is_dir():
        raise WeightsError(f"the weights folder {folder} does not exist: create it by downloading, or give another")
    return WeightIndex(folder, tuple(files), tuple(Found(file, _find(folder, file, files)) for file in files))


def candidates(folder: Path, file: WeightFile, files: Sequence[WeightFile]) -> tuple[Path, ...]:
    """The paths that are searched for a file of the table `files`, best first.

    1. the published layout, where `folder` is `pretrained_weights` or its parent;
    2. copies of the repositories, in folders named owner/name or name;
    3. the hub's cache (models--owner--name/snapshots/commit): the commit that refs/ names, or all of them if it names
       none, newest first;
    4. for descriptive file names (.pth, .onnx), `folder` itself. If `folder` holds such .pth files, the other files are
       also searched in the published layout of its parent.

    A file's earlier versions are searched in all of these after the file itself.
    """
    place, path = PurePosixPath(file.place), PurePosixPath(file.path)
    folders = [folder / place.parent, folder / "pretrained_weights" / place.parent]
    folders += [folder / repo / path.parent for repo in (file.repo, file.repo.partition("/")[2])]
    folders += [snapshot / path.parent for snapshot in _cached(folder, file)]
    if path.suffix in _FLAT:
        folders.append(folder)
    elif any((folder / other).is_file() for flat in files if flat.path.endswith(".pth") for other in _names(flat)):
        folders.append(folder.parent / place.parent)
    both = (_names(file), file.older)
    return tuple(parent / name for names in both for parent in dict.fromkeys(folders) for name in names)


def _snapshots(folder: Path, file: WeightFile) -> Path:
    return folder / f"models--{file.repo.replace('/', '--')}" / "snapshots"


def _cached(folder: Path, file: WeightFile) -> list[Path]:
    snapshots = _snapshots(folder, file)
    reference = snapshots.parent / "refs" / file.revision
    if reference.is_file():
        return [snapshots / reference.read_text(encoding="utf-8").strip()]
    there = [path for path in snapshots.iterdir() if path.is_dir()] if snapshots.is_dir() else []
    return sorted(there, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)


def _names(file: WeightFile) -> tuple[str, ...]:
    path = PurePosixPath(file.path)
    if path.suffix == ".pth":
        return (f"{path.stem}.safetensors", path.name)
    return _NAMES.get(path.name, (path.name,))


def _find(folder: Path, file: WeightFile, files: Sequence[WeightFile]) -> tuple[Path, ...]:
    there = [path for path in candidates(folder, file, files) if path.is_file()]
    return tuple(path for path in there if path.parent == there[0].parent)


def read_state(index: WeightIndex, network: str) -> State:
    """The tensors of one network by key; their values stay in their files.

    The safetensors form of a file is read if there is one. Our converted file replaces the files it was made from.
    Raises WeightsError if one of those files exists and has changed since, if a file is missing or differs from the
    lock file, or if it holds something other than tensors.
    """
    index.require([network])
    return state_of(index, network, current_files(index, network))


def state_of(index: WeightIndex, network: str, paths: Iterable[Path]) -> State:
    """The tensors in `paths` under the key names of `network`; a later file's tensors override an earlier one's."""
    entries: dict[str, TensorInfo] = {}
    for path in paths:
        check_locked(index.folder, path)
        entries |= read_infos(path)
    renames = {old: new for found in index.of(network) for old, new in found.file.renames}
    return State({_rename(key, renames): info for key, info in entries.items()} if renames else entries)


def current_files(index: WeightIndex, network: str) -> tuple[Path, ...]:
    """The files to read for `network`, in merge order. Raises WeightsError if a converted file is out of date."""
    found = _weight_paths(index, network)
    converted = {paths[0]: sources for paths in found if (sources := converted_from(paths[0]))}
    others = [path for paths in found for path in paths if path not in converted]
    for path, sources in converted.items():
        for other in others:
            if other.name not in sources or not sources[other.name].matches(other):
                raise WeightsError(
                    f"{path} was converted from files other than the {other} beside it: convert again, or delete "
                    "whichever of the two is wrong"
                )
    return tuple(converted) or tuple(paths[0] for paths in found)


def original_files(index: WeightIndex, network: str) -> tuple[Path, ...]:
    """The files of `network` that we did not convert; if there are none, the converted ones."""
    found = _weight_paths(index, network)
    originals = tuple(next((path for path in paths if not converted_from(path)), None) for paths in found)
    return tuple(path for path in originals if path) or tuple(paths[0] for paths in found)


def converted_place(files: Iterable[WeightFile], network: str) -> PurePosixPath:
    """The path of a network's one converted file in the published layout; a file of another kind keeps its name."""
    file = next(file for file in files if file.network == network and not file.is_config)
    return PurePosixPath(file.place).with_name(_names(file)[0])


def _weight_paths(index: WeightIndex, network: str) -> list[tuple[Path, ...]]:
    return [found.paths for found in index.of(network) if found.paths and not found.file.is_config]


def converted_from(path: Path) -> dict[str, FileRecord]:
    """The records, by file name, of the files that our converted file was made from; empty for any other file."""
    text = read_metadata(path).get(SOURCES_KEY)
    return {name: FileRecord(**record) for name, record in json.loads(text).items()} if text else {}


def _rename(key: str, names: Mapping[str, str]) -> str:
    return re.sub(r"(?<=\.attentions\.)(\d+)\.(\w+)\.", lambda m: f"{m[1]}.{names.get(m[2], m[2])}.", key)


@dataclass(frozen=True)
class WeightRow:
    """One line of the output of the `info` command."""

    network: str
    file: str  # its path, or its place in the published layout when it is missing
    found: bool
    size: int  # bytes; 0 when missing
    dtype: str  # such as "float16, float32"; "unreadable" for a damaged file, empty where there are no tensors
    licence: str


def describe(index: WeightIndex) -> tuple[WeightRow, ...]:
    """One row for every weights file of the table, found or missing; configurations are left out."""
    return tuple(_row(found) for found in index.found if not found.file.is_config)


def _row(found: Found) -> WeightRow:
    file = found.file
    if not found.paths:
        return WeightRow(file.network, file.place, False, 0, "", file.licence)
    path = found.paths[0]
    return WeightRow(file.network, str(path), True, path.stat().st_size, _dtypes(path), file.licence)


def _dtypes(path: Path) -> str:
    if path.suffix == ".onnx":
        return ""
    try:
        types = {info.dtype for info in read_infos(path).values() if info.dtype.is_floating_point}
    except WeightsError:
        return "unreadable"
    return ", ".join(sorted(str(dtype).removeprefix("torch.") for dtype in types))
