"""The command `personalive info`: lists weights found and missing, their licences, and the memory they need."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import asdict

import torch

from ..animation.engine import weight_index
from ..backends.personalive.files import FILES
from ..backends.personalive.loader import DECODERS
from ..device import MIB
from ..errors import WeightsError
from ..text import plural
from ..weights.index import WeightFile, WeightIndex, WeightRow, candidates, describe, read_state
from ..weights.lock import verify
from ..weights.read import TensorInfo
from .options import add_weights
from .result import Result

HALF, SINGLE = 2, 4  # bytes per parameter in fp16 or bf16, and in fp32


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive info`."""
    add_weights(parser)
    parser.add_argument("--verify", action="store_true", help="hash every downloaded file again")
    parser.add_argument("--json", action="store_true", help="the same as one line of JSON")


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive info`."""
    index = weight_index(a.weights)
    rows = describe(index)
    verified = verify(a.weights) if a.verify else ()
    required, optional = _missing(index)
    memory = {name: weight_count(index, name) for name in DECODERS["tiny"]}
    lines = [f"weights in {a.weights}", *map(_line, rows), ""]
    lines += _block("missing, but needed:", index, required)
    lines += _block("not there, needed only for some options:", index, optional)
    lines.append(_memory_line(sum(memory.values())))
    if a.verify:
        lines.append(f"verified: {plural(len(verified), 'downloaded file')} with the hub's hashes")
    values = {
        "weights": str(a.weights),
        "files": [asdict(row) for row in rows],
        "missing": [
            {
                "place": file.place,
                "needed": file in required,
                "looked_for": list(map(str, candidates(a.weights, file, FILES))),
            }
            for file in (*required, *optional)
        ],
        "memory": {"half": HALF * sum(memory.values()), "float32": SINGLE * sum(memory.values())},
    }
    return Result("\n".join(lines), values)


def _missing(index: WeightIndex) -> tuple[tuple[WeightFile, ...], tuple[WeightFile, ...]]:
    """The missing files that every animation needs, and those that only some options need."""
    required = index.missing(DECODERS["full"])
    optional = tuple(found.file for found in index.found if not found.paths and not found.file.required)
    return required, optional


def weight_count(index: WeightIndex, network: str) -> int:
    """Number of parameters in the network's files; 0 if they are missing or unreadable."""
    try:
        return sum(_numbers(read_state(index, network).entries.values()))
    except WeightsError:
        return 0


def _numbers(infos: Iterable[TensorInfo]) -> list[int]:
    return [torch.Size(info.shape).numel() for info in infos]


def _line(row: WeightRow) -> str:
    state = f"{row.size / MIB:8.1f} MiB {row.dtype}" if row.found else " missing"
    return f"{row.network:16} {state:25} {row.file}  [{row.licence}]"


def _block(heading: str, index: WeightIndex, files: tuple[WeightFile, ...]) -> list[str]:
    return [heading, index.report(files), ""] if files else []


def _memory_line(numbers: int) -> str:
    half, single = (size * numbers / MIB for size in (HALF, SINGLE))
    return f"memory for these weights: {half:.0f} MiB in fp16 or bf16, {single:.0f} MiB in fp32; pictures come on top"
