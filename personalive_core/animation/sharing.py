"""What animations of many files may take from one another: networks, an encoded reference, a driving's motion."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from ..media.video import Frame
from ..motion.types import AnyMotion, MotionT, concat_motion

PIECE = 256  # frames of a film's motion that are unpacked at a time
KEPT_NETWORKS, KEPT_REFERENCE = "networks", "reference"

FrameTime = tuple[Fraction, Fraction | None]  # time and duration, in seconds

_T = TypeVar("_T")


class Keep(Protocol):
    """Gives what was made before, or makes it."""

    def __call__(self, kind: str, make: Callable[[], _T]) -> _T:
        """Of `kind` KEPT_NETWORKS or KEPT_REFERENCE what the job needs; `make` makes it anew."""


def make_anew(kind: str, make: Callable[[], _T]) -> _T:
    """A `Keep` that keeps nothing."""
    del kind
    return make()


@dataclass(frozen=True, eq=False)
class FilmMotion:
    """The motion of a driving film, smoothed, but with its gaps: read once, it drives any number of references.

    About 2.6 kB a frame, 30 kB with a region cue. Plain arrays, which several processes of a machine can share.
    """

    arrays: Mapping[str, NDArray[Any]]  # [F, ...] by the names of the motion's tensors
    times: Sequence[FrameTime]  # of each frame

    def __len__(self) -> int:
        return len(self.times)

    def pieces(self, kind: type[MotionT]) -> Iterator[MotionT]:
        """Yields the motion, which is of class `kind`, in pieces of PIECE frames."""
        for first in range(0, len(self), PIECE):
            # copied: arrays that processes share cannot be written to, which torch warns of
            part = {
                name: torch.from_numpy(np.array(array[first : first + PIECE])) for name, array in self.arrays.items()
            }
            yield kind.of(part)


def whole_film(motions: Iterable[AnyMotion], times: Sequence[FrameTime]) -> FilmMotion:
    """The pieces `motions` of a film, and the `times` of its frames, as a value. Raises InputError without a frame."""
    tensors = concat_motion(motions).tensors()
    return FilmMotion({name: tensor.numpy() for name, tensor in tensors.items()}, times)


def noted(frames: Iterable[Frame], times: list[FrameTime]) -> Iterator[Frame]:
    """Passes `frames` on and appends to `times` when each is."""
    for frame in frames:
        times.append((frame.time, frame.duration))
        yield frame
