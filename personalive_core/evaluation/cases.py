"""Reenactments whose true answer can be drawn: the same motion on the reference's own person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..drawn.canvas import FaceMotion
from ..drawn.head import Identity
from ..drawn.truth import Split, Style, clip_motion, draw, landmarks, person, regions

SPLIT: Split = "test"  # people and motions that no training has seen
LONG_INDEX = 100  # beyond the people of the short clips


@dataclass(frozen=True, eq=False)
class Truth:
    """What F frames should show."""

    pictures: NDArray[np.uint8]  # [F, S, S, 3]
    landmarks: Tensor  # [F, 31, 2] in [-1, 1]
    regions: NDArray[np.bool_]  # [F, 4, S, S] skin, hair, clothes, background

    def __getitem__(self, rows: slice) -> Truth:
        return Truth(self.pictures[rows], self.landmarks[rows], self.regions[rows])


@dataclass(frozen=True)
class Case:
    """One reference and one driving clip."""

    sitter: Identity  # of the reference
    own: FaceMotion  # what the sitter does in the reference picture
    actor: Identity  # of the driving
    motions: tuple[FaceMotion, ...]  # what the actor does
    style: Style = "photo"  # of the reference and the answers; the driving is a film

    @property
    def is_self(self) -> bool:
        """Whether the reference is the first driving frame."""
        return self.sitter == self.actor and self.own == self.motions[0]

    def reference(self, size: int) -> NDArray[np.uint8]:
        """[S, S, 3]."""
        return np.asarray(draw(self.sitter, [self.own], size, self.style)[0])

    def driving(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Pictures [S, S, 3], each drawn when it is asked for."""
        return (draw(self.actor, [motion], size)[0] for motion in self.motions)

    def truth(self, size: int, rows: slice = slice(None)) -> Truth:
        """The answer to those frames."""
        motions = [true_motion(self.own, self.motions[0], motion) for motion in self.motions[rows]]
        who = self.sitter
        return Truth(draw(who, motions, size, self.style), landmarks(who, motions), regions(who, motions, size))


def true_motion(own: FaceMotion, first: FaceMotion, motion: FaceMotion) -> FaceMotion:
    """`motion` as the reference should take it over: its shift and scale are changes since `first`."""
    x, y = (place + moved - start for place, moved, start in zip(own.shift, motion.shift, first.shift, strict=True))
    return replace(motion, shift=(x, y), scale=own.scale + motion.scale - first.scale)


def self_case(index: int, frames: int) -> Case:
    """A test person led by the rest of their own clip: every answer is the driving frame itself."""
    who, motions = person(SPLIT, index), clip_motion(SPLIT, index, frames)
    return Case(who, motions[0], who, motions)


def cross_case(index: int, frames: int) -> Case:
    """The next test person, as their own clip begins, led by this one's clip."""
    (own,) = clip_motion(SPLIT, index + 1, 1)
    return Case(person(SPLIT, index + 1), own, person(SPLIT, index), clip_motion(SPLIT, index, frames))


def there_and_back(frames: int, span: int, index: int = LONG_INDEX) -> Case:
    """A long cross-reenactment that turns round on its way.

    Its last `span` frames are those from `span` to 2 `span` backwards: what they lose is not the motion's doing.
    """
    ahead = (frames + span + 1) // 2
    case = cross_case(index, ahead)
    rows = [min(i, frames + span - 1 - i) for i in range(frames)]
    return replace(case, motions=tuple(case.motions[i] for i in rows))
