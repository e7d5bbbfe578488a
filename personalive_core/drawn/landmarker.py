"""A small heat-map network that finds the landmarks of drawn people; `evaluate` measures generated pictures with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from ..errors import WeightsError
from ..media.tensors import to_signed
from .truth import LANDMARKS, Style

SIZE = 128  # pixels a side of the input pictures
LANDMARKER_FILE = "landmarker.safetensors"
LANDMARKER = Path(__file__).parents[1] / "assets" / LANDMARKER_FILE
LANDMARKERS: dict[Style, Path] = {  # the shipped files by the style of the people that they were trained on
    "photo": LANDMARKER,
    "fine": LANDMARKER.with_name("landmarker_fine.safetensors"),
}
NORM_GROUP = 8  # channels in one group of GroupNorm
AT_ONCE = 32  # pictures in one forward pass


def layer(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution, GroupNorm and ReLU; stride 1 keeps the resolution, stride 2 halves it."""
    convolution = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
    return nn.Sequential(convolution, nn.GroupNorm(channels // NORM_GROUP, channels), nn.ReLU())


class Landmarker(nn.Module):
    """Pictures [N, 3, S, S] in [-1, 1] -> points [N, 31, 2] in [-1, 1] of the picture, x first."""

    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Sequential(layer(3, 24, 2), layer(24, 48, 2))
        self.middle, self.deep = layer(48, 96, 2), nn.Sequential(layer(96, 128, 2), layer(128, 128))
        self.from_deep, self.join_middle = nn.Conv2d(128, 96, 1), layer(96, 96)
        self.from_middle, self.join = nn.Conv2d(96, 48, 1), layer(48, 48)
        self.heat = nn.Conv2d(48, len(LANDMARKS), 1)

    def forward(self, pictures: Tensor) -> Tensor:
        fine = self.enter(pictures)
        middle = self.middle(fine)
        middle = self.join_middle(middle + twice(self.from_deep(self.deep(middle))))
        heat: Tensor = self.heat(self.join(fine + twice(self.from_middle(middle))))
        return soft_argmax(heat.float())  # half precision would round positions to a quarter of a pixel


def twice(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2, mode="bilinear")


def soft_argmax(heat: Tensor) -> Tensor:
    """The mean position [N, K, 2] in [-1, 1], x first, under the softmax of each heat map [N, K, h, w]."""
    share = heat.flatten(2).softmax(-1).unflatten(2, heat.shape[2:])
    rows, columns = (centres(side).to(heat) for side in heat.shape[2:])
    return torch.stack([(share.sum(2) * columns).sum(-1), (share.sum(3) * rows).sum(-1)], -1)


def centres(count: int) -> Tensor:
    """The centres [count] of `count` equal cells of [-1, 1]."""
    return (torch.arange(count) * 2 + 1) / count - 1


@torch.inference_mode()
def find_landmarks(network: Landmarker, pictures: NDArray[np.uint8]) -> Tensor:
    """Pictures [F, S, S, 3] uint8 of any size -> landmarks [F, 31, 2] in [-1, 1], x first, on the CPU."""
    device = network.heat.weight.device
    parts = []
    for part in to_signed(pictures).split(AT_ONCE):
        parts.append(network(at_network_size(part).to(device)).cpu())
    return torch.cat(parts)


def at_network_size(pictures: Tensor) -> Tensor:
    """Pictures [N, 3, S, S] as [N, 3, SIZE, SIZE]: larger ones are averaged over areas, smaller ones interpolated."""
    side = pictures.shape[-1]
    if side == SIZE:
        return pictures
    return functional.interpolate(pictures, size=SIZE, mode="area" if side > SIZE else "bilinear")


def load_landmarker(path: Path = LANDMARKER) -> Landmarker:
    """Loads the network from `path`, by default the shipped file of the style photo, in evaluation mode.

    Raises WeightsError where the file is missing, damaged or does not fit the network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    network = Landmarker()
    try:
        network.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise WeightsError(
            f"{path} is no landmark network ({next(iter(str(error).splitlines()), 'no reason')}): "
            "install PersonaLive again, or train it with `personalive train --stage landmarks`"
        ) from error
    return network.eval()
