"""Each command that looks after weights: download, convert, info."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict

import torch
from tqdm import tqdm

from .animate.engine import weight_index
from .backends.personalive.files import FACTS, FILES
from .backends.personalive.loader import DECODERS, build_on_meta, unet_config
from .commands import Result
from .device import PRECISIONS
from .errors import OutputError, WeightsError
from .modules.unet import UNet
from .text import plural
from .weights.fill import missing_keys
from .weights.index import WeightFile, WeightIndex, WeightRow, candidates, describe, locate, read_state
from .weights.read import TensorInfo

MIB = 2**20
HALF, SINGLE = 2, 4  # bytes of a floating number


def download(a: argparse.Namespace) -> Result:
    """`personalive download`: what is missing, and only that."""
    try:
        a.weights.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {a.weights} cannot be made ({error.strerror}): choose another") from error
    wanted = [*DECODERS[a.decoder], *(["yunet"] if a.detector else [])]
    fetched = _fetch(a, locate(a.weights, FILES).missing(wanted))
    if lacks_base(locate(a.weights, FILES)):
        fetched += _fetch(a, locate(a.weights, FILES).missing(["base_unet"]))
    return Result(f"{a.weights}: {plural(fetched, 'file')} fetched, nothing is missing")


def _fetch(a: argparse.Namespace, files: tuple[WeightFile, ...]) -> int:
    from .weights.download import download as fetch

    with ExitStack() as open_bars:
        bars: dict[str, tqdm[None]] = {}

        def progress(file: WeightFile, done: int, total: int) -> None:
            if file.place not in bars:
                bar = tqdm(total=total, unit="B", unit_scale=True, desc=file.place, disable=a.quiet)
                bars[file.place] = open_bars.enter_context(bar)
            bars[file.place].update(done - bars[file.place].n)

        fetch(a.weights, files, endpoint=a.endpoint, offline=a.offline or None, progress=progress)
    return len(files)


def lacks_base(index: WeightIndex) -> bool:
    """Whether the denoising UNet's own files lack keys, so that the base UNet has to give them."""
    state = read_state(index, "denoising_unet")
    module = build_on_meta("denoising_unet", lambda shapes: UNet(unet_config(shapes, denoises=True)), state.shapes)
    return bool(missing_keys(module, state))


def convert(a: argparse.Namespace) -> Result:
    """`personalive convert`: one safetensors file a network."""
    from .weights.convert import convert as to_safetensors

    weight_index(a.weights)
    paths = to_safetensors(a.weights, FILES, FACTS, a.output, PRECISIONS[a.precision])
    return Result("\n".join(map(str, paths)) or f"{a.weights}: nothing to convert, no .pth or .bin is there")


def info(a: argparse.Namespace) -> Result:
    """`personalive info`: what is there, what is missing and where it was looked for, licences, memory."""
    from .weights.lock import verify

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
    """What every animation needs, and what only some need."""
    required = index.missing(DECODERS["full"])
    optional = tuple(found.file for found in index.found if not found.paths and not found.file.required)
    return required, optional


def weight_count(index: WeightIndex, network: str) -> int:
    """Numbers that the network holds once loaded; 0 where its files are missing or unreadable."""
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
