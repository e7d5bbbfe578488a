"""What the judges are asked for, and what comes of opening one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar, Union

from ...metrics.pictures import Numbers, Pictures
from ...metrics.types import Origin
from ...weights.lock import file_digest

PerPicture = Callable[[Pictures], Numbers]  # pictures [F, H, W, 3] -> one row each, [F, D]; NaN where no face is found
POINTS = ("auto", "none", "drawn", "yunet", "dlib", "mediapipe")
BACKBONES = ("alex", "vgg")

_FunctionT = TypeVar("_FunctionT")


@dataclass(frozen=True)
class JudgeOptions:
    """Which networks to use, and where the files are that no package brings. None: not used."""

    points: str = "auto"  # of POINTS: what finds eyes, head and lips
    weights: Path | None = None  # a weights folder: motion extractor, YuNet, LivePortrait's landmarks
    yunet: Path | None = None  # else that of `weights`
    sface: Path | None = None
    mediapipe: Path | None = None
    i3d: Path | None = None
    backbone: str = "alex"  # of BACKBONES, for LPIPS
    insightface: bool = False  # its models are for research only
    download: bool = False  # whether LPIPS may fetch its backbone


@dataclass(frozen=True, eq=False)
class Judge(Generic[_FunctionT]):
    """An opened network: the function that it is, and where it came from."""

    run: _FunctionT
    origin: Origin


OpenedJudge = Union[Judge[_FunctionT], str]  # noqa: UP007 - generic alias on Python 3.10; a text says why it is not there


def sha256_of(path: Path) -> str:
    """The hash of a file in hexadecimal letters."""
    return file_digest(path).removeprefix("sha256:")
