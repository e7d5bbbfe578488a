"""Converts .pth and .bin weights to one safetensors file for each network."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from ..errors import OutputError, WeightsError
from ..media.files import save_tensors, whole_file
from .fill import NetworkFacts
from .index import SOURCES_KEY, WeightFile, WeightIndex, converted_place, locate, original_files, state_of
from .lock import FileRecord
from .read import CONFIG_KEY, State, read_metadata

FORMAT_VERSION = "1"
_CONVERTIBLE = (".pth", ".bin")
_log = logging.getLogger(__name__)


def convert(
    folder: Path,
    files: Sequence[WeightFile],
    facts: Mapping[str, NetworkFacts],
    output: Path | None = None,
    dtype: torch.dtype = torch.float16,
) -> list[Path]:
    """Writes one safetensors file for each network of the table `files` found in `folder`; returns their paths.

    Without `output`, each file goes into the folder of the original files, and networks that have no .pth or .bin are
    skipped. With `output`, that folder becomes a complete weights folder: every network in the published layout, with
    its configuration. Floating-point tensors become `dtype`, or float32 where a network's `facts` say so. Each file is
    written completely or not at all. Raises WeightsError if an original cannot be read or would be overwritten, or if
    a value is too large for `dtype`; OutputError if a file cannot be written.
    """
    index = locate(folder, files)
    written = (_convert_network(index, network, output, dtype, facts) for network in index.networks)
    return [path for path in written if path]


def _convert_network(
    index: WeightIndex, network: str, output: Path | None, dtype: torch.dtype, facts: Mapping[str, NetworkFacts]
) -> Path | None:
    sources = original_files(index, network)
    if not sources or (output is None and not any(path.suffix in _CONVERTIBLE for path in sources)):
        return None
    index.require([network])
    place = converted_place(index.files, network)
    if place.suffix != ".safetensors":
        place = place.with_name(sources[0].name)  # it may be an earlier version
    target = sources[0].with_name(place.name) if output is None else output / place
    if target in sources:
        raise WeightsError(f"converting would overwrite the source {target}: give another output folder")
    _log.info("converting %s to %s", network, target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make {target.parent} ({error}): choose another folder") from error
    if output is not None:
        for found in index.of(network):
            if found.file.is_config:
                _copy(found.paths[0], target.with_name(found.paths[0].name))
    if target.suffix == ".safetensors":
        tensors = _cast_all(state_of(index, network, sources), facts.get(network, NetworkFacts()), dtype)
        save_tensors(target, tensors, _metadata(sources, dtype))
    else:
        _copy(sources[0], target)
    return target


def _copy(source: Path, target: Path) -> None:
    with whole_file(target, (target.suffix,)) as partial:
        shutil.copyfile(source, partial)


def _metadata(sources: tuple[Path, ...], dtype: torch.dtype) -> dict[str, str]:
    records = {path.name: asdict(FileRecord.of(path)) for path in sources}
    configs = [text for path in sources if (text := read_metadata(path).get(CONFIG_KEY))]
    return {
        "format": "pt",  # transformers refuses a file without it
        "personalive_format": FORMAT_VERSION,
        "dtype": str(dtype).removeprefix("torch."),
        SOURCES_KEY: json.dumps(records),
        **({CONFIG_KEY: configs[-1]} if configs else {}),
    }


def _cast_all(state: State, facts: NetworkFacts, dtype: torch.dtype) -> dict[str, Tensor]:
    return {
        key: _cast(key, tensor, torch.float32 if facts.stays_float32(key) else dtype)
        for key, tensor in state.stream(state)
    }


def _cast(key: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    cast = tensor.to(dtype, memory_format=torch.contiguous_format, copy=True)
    if not cast.isfinite().all() and tensor.isfinite().all():
        raise WeightsError(f"{key} has values up to {tensor.abs().max():g}, too large for {dtype}: choose bfloat16")
    return cast
