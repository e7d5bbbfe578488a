"""Parts of the face that animation may take from the driving, as sets of the 21 keypoints and their coordinates."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from ...errors import InputError
from ...modules.keypoints import KEYPOINTS

FACE_REGIONS = ("all", "exp", "pose", "lip", "eyes")
LIP_POINTS = (6, 12, 14, 17, 19, 20)
EYE_POINTS = (11, 13, 15, 16, 18)
# What absolute motion and source videos take of an expression: the rest would carry over the driving person's shape.
EXPRESSIVE_POINTS = (1, 2, 6, *range(11, 21))
EXPRESSIVE_COORDINATES = ("3y", "4y", "5z", "8z", "9y", "9z")  # besides those points
_AXES = "xyz"


def coordinate(name: str) -> tuple[int, int]:
    """A coordinate such as "14y" as the keypoint's number and its axis: 14, 1."""
    return int(name[:-1]), _AXES.index(name[-1])


def check_region(region: str) -> str:
    """`region` itself. Raises InputError for an unknown one."""
    if region not in FACE_REGIONS:
        raise InputError(
            f"the region to animate is one of {', '.join(FACE_REGIONS)}, got {region!r}: choose one of these"
        )
    return region


@lru_cache(maxsize=16)
def region_mask(region: str, whole: bool) -> Tensor:
    """[21, 3] bool: which coordinates of the expression `region` takes from the driving.

    Of "all" and "exp" these are all of them if `whole`, else those that carry expression and no shape.
    """
    check_region(region)
    mask = torch.zeros(KEYPOINTS, 3, dtype=torch.bool)
    if region in ("lip", "eyes"):
        mask[list(LIP_POINTS if region == "lip" else EYE_POINTS)] = True
    elif region != "pose":
        mask[list(range(KEYPOINTS) if whole else EXPRESSIVE_POINTS)] = True
        for name in EXPRESSIVE_COORDINATES:
            mask[coordinate(name)] = True
    return mask


def turns(region: str) -> bool:
    """True if the region takes the driving's rotation and translation."""
    return region in ("all", "pose")
