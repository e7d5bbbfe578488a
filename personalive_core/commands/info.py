"""The command `personalive info`: lists weights found and missing, their licences, and the memory they need."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from ..animation.engine import weight_index
from ..backends.hunyuan.files import ARCFACE, HUNYUAN_NETWORKS, hunyuan_index
from ..backends.liveportrait.files import BASE_NETWORKS, LIVE_NETWORKS, SUBJECTS, best_live, is_complete, live_folder
from ..backends.personalive.files import FILES
from ..backends.personalive.loader import DECODERS
from ..backends.registry import HUNYUAN, LIVEPORTRAIT, PERSONALIVE
from ..device import MIB
from ..errors import WeightsError
from ..text import plural
from ..weights.index import WeightFile, WeightIndex, WeightRow, candidates, describe, locate, read_state
from ..weights.lock import verify
from ..weights.read import TensorInfo
from .options import add_system, add_weights
from .result import Result

HALF, SINGLE = 2, 4  # bytes per parameter in fp16 or bf16, and in fp32
Missing = tuple[WeightIndex, tuple[WeightFile, ...]]  # files, and the index that they are missing from


@dataclass(frozen=True)
class Listing:
    """What `info` says of the weights of one system."""

    rows: tuple[WeightRow, ...]
    needed: tuple[Missing, ...]  # missing, and nothing runs without them
    optional: tuple[Missing, ...]  # missing, but only some options need them
    numbers: int  # parameters of the networks that run together


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive info`."""
    add_weights(parser)
    parser.add_argument("--verify", action="store_true", help="hash every downloaded file again")
    parser.add_argument("--json", action="store_true", help="the same as one line of JSON")
    add_system(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive info`."""
    listing = LISTINGS[a.system](a.weights)
    verified = verify(a.weights) if a.verify else ()
    width = max(16, *(len(row.network) for row in listing.rows))
    lines = [f"weights in {a.weights}", *(_line(row, width) for row in listing.rows), ""]
    lines += _block("missing, but needed:", listing.needed)
    lines += _block("not there, needed only for some options:", listing.optional)
    lines.append(_memory_line(listing.numbers))
    if a.verify:
        lines.append(f"verified: {plural(len(verified), 'downloaded file')} with the hub's hashes")
    values = {
        "weights": str(a.weights),
        "files": [asdict(row) for row in listing.rows],
        "missing": [
            {
                "place": file.place,
                "needed": needed,
                "looked_for": list(map(str, candidates(a.weights, file, index.files))),
            }
            for needed, parts in ((True, listing.needed), (False, listing.optional))
            for index, files in parts
            for file in files
        ],
        "memory": {"half": HALF * listing.numbers, "float32": SINGLE * listing.numbers},
    }
    return Result("\n".join(lines), values)


def listing_of(folder: Path) -> Listing:
    """PersonaLive's weights in `folder`. Raises WeightsError if it is no folder."""
    index = weight_index(folder)
    # what every animation needs, and what only some options need
    required = index.missing(DECODERS["full"])
    optional = tuple(found.file for found in index.found if not found.paths and not found.file.required)
    numbers = sum(weight_count(index, name) for name in DECODERS["tiny"])
    return Listing(describe(index), ((index, required),), ((index, optional),), numbers)


def live_listing(folder: Path) -> Listing:
    """LivePortrait's weights in `folder`: people's and animals', of which one set is needed, and the face detector.

    Raises WeightsError if it is no folder.
    """
    human, animal = (best_live(live_folder(folder), subject) for subject in SUBJECTS)
    detector = locate(folder, [file for file in FILES if file.network == "yunet"])
    # people's stitching serves animals too, and is listed once
    animals = (
        replace(row, network=f"animal {row.network}") for row in describe(animal) if row.network in BASE_NETWORKS
    )
    rows = (*describe(human), *animals, *describe(detector))
    lacking = [(index, index.missing(LIVE_NETWORKS)) for index in (human, animal)]
    needed = () if is_complete(human) or is_complete(animal) else (lacking[0],)
    others = ((human, human.missing(["landmark"])), (detector, detector.missing(["yunet"])))
    used = human if is_complete(human) or not is_complete(animal) else animal
    numbers = sum(weight_count(used, name) for name in LIVE_NETWORKS)
    optional = tuple(one for one in (*lacking, *others) if one not in needed)
    return Listing(rows, needed, optional, numbers)


def hunyuan_listing(folder: Path) -> Listing:
    """HunyuanPortrait's weights in `folder`, all of which are needed, and the face detector.

    Raises WeightsError that says what to place there if it is no folder.
    """
    index = hunyuan_index(folder)
    detector = locate(folder, [file for file in FILES if file.network == "yunet"])
    needed = ((index, index.missing(HUNYUAN_NETWORKS)), (detector, detector.missing(["yunet"])))
    numbers = sum(weight_count(index, name) for name in HUNYUAN_NETWORKS if name != ARCFACE)
    return Listing((*describe(index), *describe(detector)), needed, (), numbers)


LISTINGS: Mapping[str, Callable[[Path], Listing]] = {
    PERSONALIVE: listing_of,
    LIVEPORTRAIT: live_listing,
    HUNYUAN: hunyuan_listing,
}


def weight_count(index: WeightIndex, network: str) -> int:
    """Number of parameters in the network's files; 0 if they are missing or unreadable."""
    try:
        return sum(_numbers(read_state(index, network).entries.values()))
    except WeightsError:
        return 0


def _numbers(infos: Iterable[TensorInfo]) -> list[int]:
    return [torch.Size(info.shape).numel() for info in infos]


def _line(row: WeightRow, width: int) -> str:
    state = f"{row.size / MIB:8.1f} MiB {row.dtype}" if row.found else " missing"
    return f"{row.network:{width}} {state:25} {row.file}  [{row.licence}]"


def _block(heading: str, parts: Iterable[Missing]) -> list[str]:
    texts = [index.report(files) for index, files in parts if files]
    return [heading, *texts, ""] if texts else []


def _memory_line(numbers: int) -> str:
    half, single = (size * numbers / MIB for size in (HALF, SINGLE))
    return f"memory for these weights: {half:.0f} MiB in fp16 or bf16, {single:.0f} MiB in fp32; pictures come on top"
