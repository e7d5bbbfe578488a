"""The command `personalive convert`: converts .pth and .bin weights to one safetensors file per network."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..animation.engine import weight_index
from ..backends.hunyuan.files import convert_hunyuan
from ..backends.liveportrait.files import convert_live, live_folder
from ..backends.personalive.files import FACTS, FILES
from ..backends.registry import HUNYUAN, LIVEPORTRAIT
from ..device import PRECISIONS
from ..weights.convert import convert
from .hunyuan import add_licence
from .options import add_system, add_weights
from .result import Result
from .systems import ENGINE_OWNED, refuse_unowned


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `personalive convert`."""
    add_system(parser)
    add_weights(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="another folder (default: beside the originals)")
    parser.add_argument("--precision", default="fp16", choices=[*PRECISIONS], help="default: %(default)s")
    add_licence(parser)


def run(a: argparse.Namespace) -> Result:
    """Runs `personalive convert`."""
    refuse_unowned(a, ENGINE_OWNED)
    if a.system == HUNYUAN:
        paths = convert_hunyuan(a.weights, a.output, PRECISIONS[a.precision], a.accept_hunyuan_licence)
    elif a.system == LIVEPORTRAIT:
        live_folder(a.weights)
        paths = convert_live(a.weights, a.output, PRECISIONS[a.precision])
    else:
        weight_index(a.weights)
        paths = convert(a.weights, FILES, FACTS, a.output, PRECISIONS[a.precision])
    return Result("\n".join(map(str, paths)) or f"{a.weights}: nothing to convert, no .pth or .bin is there")
