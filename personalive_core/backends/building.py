"""Builds networks in the sizes that a checkpoint's shapes show: what the systems' loaders share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from ..errors import WeightsError
from ..modules.keypoints import KeypointConfig
from ..weights.index import WeightIndex

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


def library_config(index: WeightIndex, network: str) -> dict[str, Any]:
    """The config.json of a diffusers or transformers network. Raises WeightsError if it cannot be read."""
    path = index.config(network)
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise WeightsError(f"{path} is not a readable configuration: delete it and download it again") from error
