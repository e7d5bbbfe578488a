"""The command `personalive download`: downloads the missing weight files."""

from __future__ import annotations

import argparse
from contextlib import ExitStack

from tqdm import tqdm

from ..backends.building import build_on_meta
from ..backends.hunyuan.files import refuse_download
from ..backends.liveportrait.files import live_to_download
from ..backends.personalive.files import FILES
from ..backends.personalive.loader import DECODERS, unet_config
from ..backends.registry import HUNYUAN, LIVEPORTRAIT
from ..errors import OutputError
from ..modules.unet import UNet
from ..text import plural
from ..weights.download import download
from ..weights.fill import missing_keys
from ..weights.index import WeightFile, WeightIndex, locate, read_state
from .options import add_animal, add_decoder, add_system, add_weights, refuse_options
from .result import Result
from .systems import ENGINE_OWNED, refuse_unowned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive download`."""
    add_system(parser)
    add_weights(parser)
    add_decoder(parser)
    parser.add_argument(
        "--detector",
        action="store_true",
        help="also download YuNet, the face detector for wide frames, before the rest",
    )
    parser.add_argument(
        "--only", default="all", choices=["all", "detector"], help="detector: YuNet alone, 230 kB (default: all)"
    )
    parser.add_argument("--endpoint", help="mirror of the hub (default: HF_ENDPOINT)")
    parser.add_argument("--offline", action="store_true", help="no network: only list what is missing")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    add_animal(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive download`."""
    refuse_unowned(a, ENGINE_OWNED)
    refuse_options(a, (LIVEPORTRAIT,), {"animal": False})
    try:
        a.weights.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {a.weights} cannot be made ({error.strerror}): choose another") from error
    fetched = 0
    if a.detector or a.only == "detector":  # first: it is small, and there even if the networks' download is stopped
        fetched += _fetch(a, locate(a.weights, FILES).missing(["yunet"]))
    if a.only == "detector":
        return Result(f"{a.weights}: {plural(fetched, 'file')} fetched, the face detector is there")
    if a.system == HUNYUAN:
        refuse_download(a.weights)
    if a.system == LIVEPORTRAIT:
        fetched += _fetch(a, live_to_download(a.weights, "animal" if a.animal else "human"))
        return Result(f"{a.weights}: {plural(fetched, 'file')} fetched, nothing is missing")
    fetched += _fetch(a, locate(a.weights, FILES).missing(DECODERS[a.decoder]))
    if lacks_base(locate(a.weights, FILES)):
        fetched += _fetch(a, locate(a.weights, FILES).missing(["base_unet"]))
    return Result(f"{a.weights}: {plural(fetched, 'file')} fetched, nothing is missing")


def _fetch(a: argparse.Namespace, files: tuple[WeightFile, ...]) -> int:
    with ExitStack() as open_bars:
        bars: dict[str, tqdm[None]] = {}

        def progress(file: WeightFile, done: int, total: int) -> None:
            if file.place not in bars:
                bar = tqdm(total=total, unit="B", unit_scale=True, desc=file.place, disable=a.quiet)
                bars[file.place] = open_bars.enter_context(bar)
            bars[file.place].update(done - bars[file.place].n)

        download(a.weights, files, endpoint=a.endpoint, offline=a.offline or None, progress=progress)
    return len(files)


def lacks_base(index: WeightIndex) -> bool:
    """Whether the denoising UNet's own files lack keys, which the base UNet's file must then supply."""
    state = read_state(index, "denoising_unet")
    module = build_on_meta("denoising_unet", lambda shapes: UNet(unet_config(shapes, denoises=True)), state.shapes)
    return bool(missing_keys(module, state))
