"""Regions of eyes, nose and mouth: soft ellipses placed by a face's points, which turn and grow with the head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from ..errors import InputError

MASK_REGIONS = ("left eye", "right eye", "nose", "mouth")  # of the picture
# By the number of points: those whose mean is each region's centre. Lids and chin are in none: they move alone.
CENTRE_POINTS = {
    31: ((6, 7), (11, 12), (16, 17), (20, 21, 22, 25)),  # drawn/truth.py's LANDMARKS
    21: ((2,), (3,), (5, 15), (18,)),  # its KEYPOINT_NAMES, and so the small model's extractor
}
# Half-axes of each ellipse, in distances between the eyes and from the eyes to the mouth: chosen here so that the
# drawn people's eyes, noses and open mouths are inside. Those of arXiv 2509.17476 are not known.
HALF_AXES = ((0.42, 0.26), (0.42, 0.26), (0.44, 0.58), (0.58, 0.46))
SOFT_EDGE = 0.25  # width of the edge, in half-axes: 1 inside, 0 beyond it
PROFILE_WIDTH = 0.35  # the least distance between the eyes, in distances from the eyes to the mouth: a profile
_LEAST = 1e-6  # the least distance from the eyes to the mouth that is divided by


@dataclass(frozen=True, eq=False)
class RegionFrames:
    """A coordinate frame for each of MASK_REGIONS in F faces: a region's ellipse is the unit circle in its own."""

    centres: Tensor  # [F, 4, 2] in the picture, which spans -1 .. 1
    half_axes: Tensor  # [F, 4, 2] across and along the face
    right: Tensor  # [F, 2] unit vector across the face, to the right of the picture
    down: Tensor  # [F, 2] unit vector along the face

    def inside(self, index: int, size: int) -> Tensor:
        """Where the pixels of a square picture are in the frame of region `index`: [F, size, size, 2]."""
        axis = (torch.arange(size, device=self.centres.device, dtype=self.centres.dtype) * 2 + 1) / size - 1
        away = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), -1) - self.centres[:, index, None, None]
        x, y = (_along(away, unit) for unit in (self.right, self.down))
        return torch.stack([x, y], -1) / self.half_axes[:, index, None, None]

    def placed(self, places: Tensor) -> Tensor:
        """Where `places` [P, 2], the same in the frame of every region, are in the picture: [F, 4, P, 2]."""
        away = places * self.half_axes[:, :, None]
        across, along = away[..., :1] * self.right[:, None, None], away[..., 1:] * self.down[:, None, None]
        return self.centres[:, :, None] + across + along


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


def region_frames(centres: Tensor) -> RegionFrames:
    """The frames of the regions around `centres` [F, 4, 2]; of a face without extent, tiny ones."""
    left, right, _, mouth = centres.unbind(1)
    down = mouth - (left + right) / 2
    along = down.norm(dim=-1).clamp(min=_LEAST)
    down = down / along[:, None]
    across = torch.stack([down[:, 1], -down[:, 0]], -1)
    between = ((right - left) * across).sum(-1).abs()
    lengths = torch.stack([torch.maximum(between, PROFILE_WIDTH * along), along], -1)
    return RegionFrames(centres, _half_axes(centres.device) * lengths[:, None], across, down)


def softness(places: Tensor) -> Tensor:
    """Mask values [...] at `places` [..., 2] of a region's frame: 1 in its ellipse, 0 beyond the soft edge."""
    inside: Tensor = ((1 + SOFT_EDGE - places.norm(dim=-1)) / SOFT_EDGE).clamp(0, 1)
    soft: Tensor = inside * inside * (3 - 2 * inside)
    return soft


def soft_masks(centres: Tensor, size: int, shown: Sequence[str] = MASK_REGIONS) -> Tensor:
    """Masks [F, 1, size, size] in [0, 1] of the regions `shown` around `centres` [F, 4, 2]; the picture spans -1 .. 1.

    The ellipses turn, grow and narrow with the head: so they tell its pose. Raises InputError for unknown regions, or
    for a face whose eyes and mouth are in one place.
    """
    if unknown := [name for name in shown if name not in MASK_REGIONS]:
        raise InputError(f"unknown region {unknown[0]!r}: choose of {', '.join(MASK_REGIONS)}")
    if not bool((centres[:, 3] != (centres[:, 0] + centres[:, 1]) / 2).any(-1).all()):
        raise InputError("a face has its eyes and mouth in one place: give frames in which a face was found")
    frames = region_frames(centres)
    masks = torch.zeros(len(centres), size, size, device=centres.device, dtype=centres.dtype)
    for index in (MASK_REGIONS.index(name) for name in shown):
        masks = torch.maximum(masks, softness(frames.inside(index, size)))
    return masks[:, None]


@lru_cache(maxsize=8)
def _half_axes(device: torch.device) -> Tensor:
    """`HALF_AXES` on `device`, made once: to make them there is a copy that waits for the device."""
    with torch.inference_mode(False):  # training uses the same tensor
        return torch.tensor(HALF_AXES, device=device)


def _along(away: Tensor, unit: Tensor) -> Tensor:
    """How far [F, S, S] `away` [F, S, S, 2] goes along unit vectors [F, 2]."""
    return (away * unit[:, None, None]).sum(-1)
