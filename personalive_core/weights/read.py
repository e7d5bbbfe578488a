"""Reads .pth, .bin and .safetensors files lazily: a tensor stays in its file until it is requested."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import WeightsError

CONFIG_KEY = "personalive_config"  # header key: config values that shapes do not show; unpublished networks only
_WRAPPERS = ("state_dict", "model")
_PARALLEL_PREFIX = "module."  # DataParallel puts it before every key
_STREAM_PARTS = 16
_Entry = TypeVar("_Entry")
_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class TensorInfo:
    """File, name, shape and dtype of a tensor, without its values."""

    file: Path
    name: str  # in the file
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        return torch.Size(self.shape).numel() * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class State(Mapping[str, Tensor]):
    """A state dict that stays in its files: a tensor is memory-mapped when it is requested."""

    entries: Mapping[str, TensorInfo]

    def __getitem__(self, key: str) -> Tensor:
        info = self.entries[key]
        return _open(info.file)(info.name)

    def __contains__(self, key: object) -> bool:
        return key in self.entries  # the method of Mapping would open the file

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {key: info.shape for key, info in self.entries.items()}

    def stream(self, keys: Iterable[str]) -> Iterator[tuple[str, Tensor]]:
        """Yields (key, tensor) in the order of `keys`; each tensor maps its file, so copy the ones you keep.

        Mapped pages count as memory until their file is closed. Therefore the files are reopened after every sixteenth
        of the state.
        """
        limit = sum(info.nbytes for info in self.entries.values()) // _STREAM_PARTS
        readers: dict[Path, Callable[[str], Tensor]] = {}
        mapped = 0
        for key in keys:
            info = self.entries[key]
            if mapped + info.nbytes > limit:
                readers, mapped = {}, 0
            if info.file not in readers:
                readers[info.file] = _open(info.file)
            mapped += info.nbytes
            yield key, readers[info.file](info.name)


def read_infos(path: Path) -> dict[str, TensorInfo]:
    """The tensors of a weights file by key, without reading their values. Raises WeightsError if it cannot be read.

    A PyTorch file may hold its state dict under "state_dict" or "model", or several under names of their own, which
    then begin the keys. If all keys of a state dict begin with "module.", that prefix is removed.
    """
    if path.suffix == ".safetensors":
        infos = _safetensors_infos(path)
    else:
        tensors = _load(path)
        infos = {key: TensorInfo(path, key, tuple(value.shape), value.dtype) for key, value in tensors.items()}
    return _without_parallel(infos)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata in a safetensors header; empty for other files. Raises WeightsError if it cannot be read."""
    return dict(_safetensors(path).metadata() or {}) if path.suffix == ".safetensors" else {}


def read_config(state: State) -> dict[str, int]:
    """The config values in the headers of a network's files; empty for the published networks."""
    texts = (read_metadata(path).get(CONFIG_KEY, "{}") for path in {info.file for info in state.entries.values()})
    return {key: int(value) for text in texts for key, value in json.loads(text).items()}


def _open(path: Path) -> Callable[[str], Tensor]:
    if path.suffix == ".safetensors":
        read: Callable[[str], Tensor] = _safetensors(path).get_tensor
        return read
    return _load(path).__getitem__


def _safetensors(path: Path) -> Any:  # noqa: ANN401 - its methods carry no types
    try:
        return safe_open(path, framework="pt", device="cpu")
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} cannot be read ({error}): delete it, then download or convert it again") from error


def _safetensors_infos(path: Path) -> dict[str, TensorInfo]:
    file = _safetensors(path)
    infos = {}
    for key in file.keys():  # noqa: SIM118 - the file is no mapping
        entry = file.get_slice(key)
        if entry.get_dtype() not in _DTYPES:
            raise WeightsError(
                f"{path} holds {key} as {entry.get_dtype()}, expected one of {', '.join(_DTYPES)}: "
                "use weights that are not quantised"
            )
        infos[key] = TensorInfo(path, key, tuple(entry.get_shape()), _DTYPES[entry.get_dtype()])
    return infos


def _load(path: Path) -> dict[str, Tensor]:
    zipped = zipfile.is_zipfile(path)  # PyTorch before 1.6 wrote another format, which cannot be memory-mapped
    with path.open("rb") as file:
        cut_short = not zipped and file.read(2) in {b"", b"PK"}  # a zip file without its end, where its directory is
    if cut_short:
        raise WeightsError(f"{path} is empty or cut short: delete it and download it again")
    try:
        content = torch.load(path, map_location="cpu", mmap=zipped, weights_only=True)
    except Exception as error:  # a damaged or malicious file can make the unpickler raise almost any error
        raise WeightsError(
            f"{path} is not a plain weights file ({type(error).__name__}), so it was refused and nothing in it was "
            "executed: use the file from its publisher"
        ) from error
    return _unwrap(path, content)


def _without_parallel(entries: Mapping[str, _Entry]) -> dict[str, _Entry]:
    shared = all(key.startswith(_PARALLEL_PREFIX) for key in entries)
    return {key.removeprefix(_PARALLEL_PREFIX) if shared else key: entry for key, entry in entries.items()}


def _are_tensors(content: object) -> bool:
    return isinstance(content, Mapping) and all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    )


def _unwrap(path: Path, content: object) -> dict[str, Tensor]:
    if isinstance(content, Mapping):
        wrapped = [content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)]
        tensors = wrapped[0] if wrapped else content
        if (
            not wrapped
            and content
            and all(isinstance(name, str) and _are_tensors(part) for name, part in content.items())
        ):
            parts = {name: _without_parallel(part) for name, part in content.items()}
            tensors = {f"{name}.{key}": value for name, part in parts.items() for key, value in part.items()}
        if _are_tensors(tensors):
            return {key: value.detach() for key, value in tensors.items()}
    raise WeightsError(
        f'{path} should hold tensors by name, at the top or under "state_dict" or "model", but holds something else: '
        "use the file from its publisher"
    )
