"""Trilinear sampling of volumes, also on devices for which torch has none."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

SAMPLED_BY_TORCH = ("cpu", "cuda", "xpu")  # others, such as mps, have no grid_sample of volumes


def sample_volume(volume: Tensor, places: Tensor) -> Tensor:
    """Volumes [N, C, D, H, W] read at `places` [N, d, h, w, 3] -> [N, C, d, h, w] of the volume's dtype.

    Places are x, y, z from -1 to 1 between the outer faces of the outer voxels; outside them is 0. Computed in the
    places' dtype, see `place_dtype`.
    """
    if volume.device.type in SAMPLED_BY_TORCH:
        found = functional.grid_sample(volume.to(places.dtype), places, align_corners=False)
    else:
        found = gather_volume(volume.to(places.dtype), places)
    return found.to(volume.dtype)


def place_dtype(device: torch.device) -> torch.dtype:
    """The dtype of places: never half, which moves them by a part of a voxel.

    float64 on the CPU, where it costs little: rounding places in float32 is half of all that the picture is off by.
    """
    return torch.float64 if device.type == "cpu" else torch.float32


def gather_volume(volume: Tensor, places: Tensor) -> Tensor:
    """`sample_volume` in gathers alone: the same mathematics as torch's own, for devices that lack it."""
    sizes = torch.tensor(volume.shape[:1:-1], device=volume.device)  # W, H, D, as places are x, y, z
    voxels = ((places + 1) * sizes - 1) / 2
    low = voxels.floor()
    beyond = voxels - low
    flat = volume.flatten(2)
    found = torch.zeros(*volume.shape[:2], *places.shape[1:-1], device=volume.device, dtype=volume.dtype)
    for corner in product((0, 1), repeat=3):
        side = torch.tensor(corner, device=volume.device)
        index = (low + side).long()
        weight = torch.where(side == 1, beyond, 1 - beyond).prod(-1)
        weight = weight * ((index >= 0) & (index < sizes)).all(-1)
        x, y, z = index.clamp(min=torch.zeros_like(sizes), max=sizes - 1).unbind(-1)
        place = ((z * sizes[1] + y) * sizes[0] + x).flatten(1)[:, None].expand(-1, volume.shape[1], -1)
        found += flat.gather(2, place).view_as(found) * weight[:, None]
    return found


def voxel_grid(depth: int, height: int, width: int, device: torch.device) -> Tensor:
    """[D, H, W, 3] of `place_dtype`: x, y, z of every voxel, from -1 to 1, both ends included."""
    dtype = place_dtype(device)
    axes = (torch.linspace(-1, 1, count, device=device, dtype=dtype) for count in (depth, height, width))
    z, y, x = torch.meshgrid(*axes, indexing="ij")
    return torch.stack([x, y, z], -1)
