"""Moves keypoints by the three perceptrons: stitching to the source, and opening or closing eyes and lips."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

LIPS_CLOSED = 0.03  # openness ratio below which lips count as closed


class Retargeter(Protocol):
    """The three perceptrons, in float32."""

    def stitch(self, x: Tensor) -> Tensor:
        """Keypoints of source and driving [N, 126] -> changes [N, 65] of the driving's: points, then all x and y."""

    def open_eyes(self, x: Tensor) -> Tensor:
        """Source keypoints, its left and right ratio, the target [N, 66] -> changes of keypoints [N, 63]."""

    def open_lips(self, x: Tensor) -> Tensor:
        """Source keypoints, its ratio, the target [N, 65] -> changes of keypoints [N, 63]."""


def stitched(networks: Retargeter, source: Tensor, keypoints: Tensor) -> Tensor:
    """`keypoints` [F, 21, 3] moved so that the picture joins the source's, whose keypoints are [F or 1, 21, 3]."""
    source = source.expand_as(keypoints)
    change = networks.stitch(torch.cat([source.flatten(1), keypoints.flatten(1)], 1))
    return keypoints + change[:, :-2].view_as(keypoints) + functional.pad(change[:, None, -2:], (0, 1))


def eyes_moved(networks: Retargeter, source: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """How source keypoints [F or 1, 21, 3] move as eyes go from ratios `own` [F or 1, 2] to `target` [F, 1]."""
    return networks.open_eyes(_inputs(source, own, target)).view(-1, *source.shape[1:])


def lips_moved(networks: Retargeter, source: Tensor, own: Tensor, target: Tensor) -> Tensor:
    """How source keypoints [F or 1, 21, 3] move as lips go from the ratio `own` [F or 1, 1] to `target` [F, 1]."""
    return networks.open_lips(_inputs(source, own, target)).view(-1, *source.shape[1:])


def lips_closed(networks: Retargeter, source: Tensor, own: Tensor) -> Tensor:
    """How source keypoints [F, 21, 3] move as open lips close; 0 where the ratio `own` [F, 1] says they are closed."""
    change = lips_moved(networks, source, own, torch.zeros_like(own))
    return torch.where((own >= LIPS_CLOSED)[..., None], change, 0.0)


def _inputs(source: Tensor, own: Tensor, target: Tensor) -> Tensor:
    count = max(len(source), len(own), len(target))
    return torch.cat([part.flatten(1).expand(count, -1) for part in (source, own, target)], 1)
