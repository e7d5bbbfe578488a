"""A source picture, cropped by its landmarks, and what animation needs from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...media.picture import Picture
from .crops import SOURCE_CROP, CropRule, halved, landmark_matrix, warped
from .model import LivePortrait
from .motion import NO_FACTS, FaceFacts, read_implicit, unit_pictures
from .types import LiveSource


@dataclass(frozen=True, eq=False)
class SourceCrop:
    """The face of a source picture."""

    picture: Picture  # [512, 512, 3]
    matrix: NDArray[np.float64]  # [3, 3], from pixels of the crop to pixels of the source picture

    @property
    def small(self) -> Picture:
        """[256, 256, 3], as the networks take it."""
        return halved(self.picture)

    @property
    def roll(self) -> float:
        """Degrees by which the crop is turned in its picture: to be added to the roll of a head that was read in it."""
        return math.degrees(math.atan2(self.matrix[1, 0], self.matrix[0, 0]))


def crop_source(picture: Picture, points: NDArray[np.floating], rule: CropRule = SOURCE_CROP) -> SourceCrop:
    """Crops a source picture by its landmarks [N, 2]. Raises InputError for an unknown number of landmarks."""
    matrix = landmark_matrix(points, rule)
    return SourceCrop(warped(picture, matrix, rule.side, rule.side), np.asarray(np.linalg.inv(matrix), np.float64))


def live_source(model: LivePortrait, pictures: Sequence[Picture], facts: FaceFacts = NO_FACTS) -> LiveSource:
    """What animation needs from a source picture, or from the frames of a source video, each [256, 256, 3]."""
    inputs = unit_pictures(pictures)
    return LiveSource(model.appearance(inputs), read_implicit(model, inputs, facts))
