"""Masked driving: the driving's pictures laid on the source, everything but eyes, nose and mouth hidden."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ...faces.regions import MASK_REGIONS, soft_masks
from .placing import Similarity


def masked_driving(
    pictures: Tensor, centres: Tensor, placing: Similarity, size: int, shown: Sequence[str] = MASK_REGIONS
) -> Tensor:
    """Driving pictures [F, 3, S, S] in [-1, 1], laid on the source, grey (0) outside the regions: [F, 3, size, size].

    `centres` [F, 4, 2] are where the regions are in `pictures`.
    """
    return placing.lay(pictures, size) * soft_masks(placing.place(centres), size, shown).to(pictures)
