"""Builds networks in the sizes that a checkpoint's shapes show: what both systems' loaders share."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import nn

from ..errors import WeightsError
from ..modules.keypoints import KeypointConfig

Shapes = Mapping[str, tuple[int, ...]]


def build_on_meta(network: str, build: Callable[[Shapes], nn.Module], shapes: Shapes) -> nn.Module:
    """Builds the network on the meta device. Raises WeightsError if a key is missing whose shape `build` reads."""
    try:
        with torch.device("meta"):
            return build(shapes)
    except KeyError as error:
        raise WeightsError(
            f"the weights of {network} lack the key {error.args[0]}: the file belongs to another network, replace it"
        ) from error


def count(shapes: Shapes, pattern: str) -> int:
    """The number of consecutive keys pattern.format(0), pattern.format(1), ... in `shapes`."""
    found = 0
    while pattern.format(found) in shapes:
        found += 1
    return found


def keypoint_config(shapes: Shapes) -> KeypointConfig:
    """Config of a keypoint extractor from its checkpoint's shapes."""
    stages = count(shapes, "detector.stages.{}.0.dwconv.weight")
    return KeypointConfig(
        widths=tuple(shapes[f"detector.stages.{i}.0.dwconv.weight"][0] for i in range(max(stages, 1))),
        depths=tuple(count(shapes, f"detector.stages.{i}." + "{}.dwconv.weight") for i in range(max(stages, 1))),
    )
