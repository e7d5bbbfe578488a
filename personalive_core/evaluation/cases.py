"""Test cases with known true frames: the renderer draws the reference's person with the driving motion."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..drawn.canvas import FaceMotion
from ..drawn.head import Identity
from ..drawn.truth import Split, Style, clip_motion, draw, journey_motion, landmarks, person, regions

SPLIT: Split = "test"  # held-out: no training uses its people and motions
LONG_INDEX = 100  # person of the long stream, unless the short clips show that one too
JOURNEY_STRIDE = 4  # motion frames from one frame of a journey to the next, as in the films of stage 3


@dataclass(frozen=True, eq=False)
class Truth:
    """The true frames that F output frames are compared with."""

    pictures: NDArray[np.uint8]  # [F, S, S, 3]
    landmarks: Tensor  # [F, 31, 2] in [-1, 1]
    regions: NDArray[np.bool_]  # [F, 4, S, S] masks of skin, hair, clothes, background

    def __getitem__(self, rows: slice) -> Truth:
        return Truth(self.pictures[rows], self.landmarks[rows], self.regions[rows])


@dataclass(frozen=True)
class Case:
    """One reference and one driving clip."""

    sitter: Identity  # person in the reference
    own: FaceMotion  # pose and expression in the reference picture
    actor: Identity  # person in the driving clip
    motions: tuple[FaceMotion, ...]  # of the actor, one per driving frame
    style: Style = "photo"  # of the reference and the true frames
    driven: Style = "photo"  # of the driving pictures

    @property
    def is_self(self) -> bool:
        """Self-reenactment: whether the reference shows the same person and motion as the first driving frame."""
        return self.sitter == self.actor and self.own == self.motions[0] and self.style == self.driven

    def reference(self, size: int) -> NDArray[np.uint8]:
        """The reference picture [S, S, 3], S being `size`."""
        return np.asarray(draw(self.sitter, [self.own], size, self.style)[0])

    def driving(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """Yields the driving pictures [S, S, 3]; each is drawn on demand."""
        return (draw(self.actor, [motion], size, self.driven)[0] for motion in self.motions)

    def truth(self, size: int, rows: slice = slice(None)) -> Truth:
        """The true pictures, landmarks and regions of the driving frames in `rows`."""
        motions = [true_motion(self.own, self.motions[0], motion) for motion in self.motions[rows]]
        who, style = self.sitter, self.style
        return Truth(draw(who, motions, size, style), landmarks(who, motions), regions(who, motions, size, style))


def true_motion(own: FaceMotion, first: FaceMotion, motion: FaceMotion) -> FaceMotion:
    """The motion that the output should show for the driving motion `motion`.

    Angles and expression are those of `motion`; shift and scale are those of `own` plus the change since `first`.
    """
    x, y = (place + moved - start for place, moved, start in zip(own.shift, motion.shift, first.shift, strict=True))
    return replace(motion, shift=(x, y), scale=own.scale + motion.scale - first.scale)


def self_case(index: int, frames: int, style: Style = "photo") -> Case:
    """Self-reenactment of a test person: the reference is the first driving frame.

    Each true frame is the driving frame itself.
    """
    who, motions = person(SPLIT, index), clip_motion(SPLIT, index, frames)
    return Case(who, motions[0], who, motions, style, style)


def cross_case(index: int, frames: int, style: Style = "photo") -> Case:
    """Cross-reenactment: test person `index + 1` is driven by the clip of person `index`.

    The reference is the first frame of the clip of person `index + 1`.
    """
    (own,) = clip_motion(SPLIT, index + 1, 1)
    motions = clip_motion(SPLIT, index, frames)
    return Case(person(SPLIT, index + 1), own, person(SPLIT, index), motions, style, style)


def journey_case(index: int, frames: int, style: Style = "photo") -> Case:
    """`cross_case` with a longer film: every JOURNEY_STRIDE-th frame of large turns, leaving and coming back."""
    motions = journey_motion(SPLIT, index, frames * JOURNEY_STRIDE)[::JOURNEY_STRIDE]
    return replace(cross_case(index, 1, style), motions=motions)


def long_index(people: int) -> int:
    """The person of the long stream: its two people are in none of the short clips, cases 0 to `people` - 1.

    The last short cross-reenactment shows person `people`.
    """
    return max(LONG_INDEX, people + 1)


def there_and_back(frames: int, span: int, index: int = LONG_INDEX, style: Style = "photo") -> Case:
    """A long cross-reenactment by the clip of test person `index`, whose motion runs forwards, then backwards.

    Its last `span` frames repeat the motion of frames `span` to 2 `span` in reverse order. Lower scores there come from
    the length of the stream, not from harder motion.
    """
    ahead = (frames + span + 1) // 2
    case = cross_case(index, ahead, style)
    rows = [min(i, frames + span - 1 - i) for i in range(frames)]
    return replace(case, motions=tuple(case.motions[i] for i in rows))
