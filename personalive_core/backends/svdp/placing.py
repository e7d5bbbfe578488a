"""One fixed similarity lays the driving's face on the source's: fitted to the first frame, kept for all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError


@dataclass(frozen=True, eq=False)
class Similarity:
    """Turns, scales and moves; pictures span -1 .. 1."""

    turn: Tensor  # [2, 2] rotation times scale, for column vectors
    shift: Tensor  # [2]

    def place(self, points: Tensor) -> Tensor:
        """`points` [..., 2] where the similarity puts them."""
        return points @ self.turn.T + self.shift

    def lay(self, pictures: Tensor, size: int) -> Tensor:
        """Square pictures [F, C, S, S] as [F, C, size, size], moved like the points on them; edges are repeated."""
        back = torch.linalg.inv(self.turn)
        move = torch.cat([back, -(back @ self.shift)[:, None]], 1).to(pictures)
        grid = functional.affine_grid(move.expand(len(pictures), 2, 3), [len(pictures), 1, size, size], False)
        return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def fit_similarity(points: Tensor, onto: Tensor) -> Similarity:
    """The similarity that brings `points` [K, 2] nearest to `onto` [K, 2], by least squares; it never mirrors.

    Raises InputError if all `points` are in one place.
    """
    one, other = points.mean(0), onto.mean(0)
    x, y = (points - one).T
    u, v = (onto - other).T
    spread = (x * x + y * y).sum()
    if not spread > 0:
        raise InputError("the face's points are all in one place: give a frame in which a face was found")
    along, across = (x * u + y * v).sum() / spread, (x * v - y * u).sum() / spread
    turn = torch.stack([torch.stack([along, -across]), torch.stack([across, along])])
    return Similarity(turn, other - turn @ one)
