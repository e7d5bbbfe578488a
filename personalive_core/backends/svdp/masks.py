"""Region masks: soft ellipses around eyes, nose and mouth; everything else of the driving is hidden."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import InputError
from .placing import Similarity

MASK_REGIONS = ("left eye", "right eye", "nose", "mouth")  # of the picture
# By the number of points: those whose mean is each region's centre. Lids and chin are in none: they move alone.
CENTRE_POINTS = {
    31: ((6, 7), (11, 12), (16, 17), (20, 21, 22, 25)),  # drawn/truth.py's LANDMARKS
    21: ((2,), (3,), (5, 15), (18,)),  # its KEYPOINT_NAMES, and so the small model's extractor
}
# Half-axes of each ellipse, in distances between the eyes and from the eyes to the mouth: chosen here so that the
# drawn people's eyes, noses and open mouths are inside. The paper's masks are not known.
HALF_AXES = ((0.42, 0.26), (0.42, 0.26), (0.44, 0.58), (0.58, 0.46))
SOFT_EDGE = 0.25  # width of the edge, in half-axes: 1 inside, 0 beyond it
PROFILE_WIDTH = 0.35  # the least distance between the eyes, in distances from the eyes to the mouth: a profile


def region_centres(points: Tensor) -> Tensor:
    """Centres [F, 4, 2] of MASK_REGIONS from the 31 landmarks or 21 keypoints of F faces [F, K, 2 or 3].

    Raises InputError for another number of points.
    """
    if points.shape[1] not in CENTRE_POINTS:
        raise InputError(
            f"regions are placed by {' or '.join(map(str, sorted(CENTRE_POINTS)))} points, got {points.shape[1]}: "
            "give drawn landmarks or keypoints"
        )
    return torch.stack([points[:, list(part), :2].mean(1) for part in CENTRE_POINTS[points.shape[1]]], 1)


def soft_masks(centres: Tensor, size: int, shown: Sequence[str] = MASK_REGIONS) -> Tensor:
    """Masks [F, 1, size, size] in [0, 1] of the regions `shown` around `centres` [F, 4, 2]; the picture spans -1 .. 1.

    The ellipses turn, grow and narrow with the head: so they tell its pose. Raises InputError for unknown regions, or
    for a face whose eyes and mouth are in one place.
    """
    if unknown := [name for name in shown if name not in MASK_REGIONS]:
        raise InputError(f"unknown region {unknown[0]!r}: choose of {', '.join(MASK_REGIONS)}")
    right, down, across, along = _face_axes(centres)
    axis = (torch.arange(size, device=centres.device, dtype=centres.dtype) * 2 + 1) / size - 1
    places = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1)  # [size, size, 2]
    masks = torch.zeros(len(centres), size, size, device=centres.device, dtype=centres.dtype)
    for index in (MASK_REGIONS.index(name) for name in shown):
        wide, high = HALF_AXES[index]
        away = places - centres[:, index, None, None]  # [F, size, size, 2]
        x = (away * right[:, None, None]).sum(-1) / (wide * across)[:, None, None]
        y = (away * down[:, None, None]).sum(-1) / (high * along)[:, None, None]
        inside = ((1 + SOFT_EDGE - (x * x + y * y).sqrt()) / SOFT_EDGE).clamp(0, 1)
        masks = torch.maximum(masks, inside * inside * (3 - 2 * inside))
    return masks[:, None]


def masked_driving(
    pictures: Tensor, centres: Tensor, placing: Similarity, size: int, shown: Sequence[str] = MASK_REGIONS
) -> Tensor:
    """Driving pictures [F, 3, S, S] in [-1, 1], laid on the source, grey (0) outside the regions: [F, 3, size, size].

    `centres` [F, 4, 2] are where the regions are in `pictures`.
    """
    return placing.lay(pictures, size) * soft_masks(placing.place(centres), size, shown).to(pictures)


def _face_axes(centres: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Unit vectors [F, 2] to the face's right (in the picture) and down, and its two lengths [F]."""
    left, right, _, mouth = centres.unbind(1)
    down = mouth - (left + right) / 2
    along = down.norm(dim=-1)
    if not bool((along > 0).all()):
        raise InputError("a face has its eyes and mouth in one place: give frames in which a face was found")
    down = down / along[:, None]
    across = torch.stack([down[:, 1], -down[:, 0]], -1)
    between = ((right - left) * across).sum(-1).abs()
    return across, down, torch.maximum(between, PROFILE_WIDTH * along), along
