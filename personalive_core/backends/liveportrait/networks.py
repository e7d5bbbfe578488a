"""Builds LivePortrait's networks without weights, in the published sizes or those that a checkpoint's shapes show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import nn

from ...modules.appearance import AppearanceConfig, AppearanceExtractor
from ...modules.dense_motion import WarpingConfig
from ...modules.keypoints import KeypointConfig, KeypointExtractor
from ...modules.layers import Ops
from ...modules.retargeting import RetargetingConfig, RetargetingNetworks
from ...modules.spade import SpadeConfig, SpadeDecoder
from ...modules.warping import WarpingNetwork
from ..building import count
from .model import LivePortrait

TensorShapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class LiveSizes:
    """Widths and depths of every network."""

    appearance: AppearanceConfig = AppearanceConfig()
    keypoints: KeypointConfig = KeypointConfig()
    warping: WarpingConfig = WarpingConfig()
    decoder: SpadeConfig = SpadeConfig()
    retargeting: RetargetingConfig = RetargetingConfig()


def build_live(sizes: LiveSizes = LiveSizes(), ops: Ops = nn) -> LivePortrait:
    """All networks in these sizes, in the form in which they run, in eval mode, with the layers' default weights."""
    model = LivePortrait(
        AppearanceExtractor(replace(sizes.appearance, folded=True), ops),
        KeypointExtractor(sizes.keypoints, ops),
        WarpingNetwork(replace(sizes.warping, folded=True), ops),
        SpadeDecoder(replace(sizes.decoder, folded=True), ops),
        RetargetingNetworks(sizes.retargeting, ops),
    )
    for network in model.networks:
        network.eval()
    return model


def appearance_config(shapes: TensorShapes) -> AppearanceConfig:
    """Config of an appearance extractor from its checkpoint's shapes."""
    channels = shapes["resblocks_3d.3dr0.conv1.weight"][0]
    halvings = count(shapes, "down_blocks.{}.conv.weight")
    return AppearanceConfig(
        widths=(
            shapes["first.conv.weight"][0],
            *(shapes[f"down_blocks.{index}.conv.weight"][0] for index in range(halvings)),
        ),
        depth=shapes["second.weight"][0] // channels,
        channels=channels,
        blocks=count(shapes, "resblocks_3d.3dr{}.conv1.weight"),
    )


def warping_config(shapes: TensorShapes) -> WarpingConfig:
    """Config of a warping network from its checkpoint's shapes."""
    motion, hourglass = "dense_motion_network", "dense_motion_network.hourglass"
    levels = count(shapes, f"{hourglass}.encoder.down_blocks." + "{}.conv.weight")
    motions, joined = shapes[f"{motion}.mask.weight"][:2]
    return WarpingConfig(
        channels=shapes[f"{motion}.compress.weight"][1],
        depth=shapes[f"{motion}.occlusion.weight"][1] // joined,
        keypoints=motions - 1,
        compressed=shapes[f"{motion}.compress.weight"][0],
        width=shapes[f"{hourglass}.decoder.up_blocks.{levels - 1}.conv.weight"][0],
        most=shapes[f"{hourglass}.encoder.down_blocks.{levels - 1}.conv.weight"][0],
        levels=levels,
        out=shapes["fourth.weight"][0],
    )


def decoder_config(shapes: TensorShapes) -> SpadeConfig:
    """Config of a decoder from its checkpoint's shapes."""
    doublings = count(shapes, "up_{}.conv_1.bias")
    return SpadeConfig(
        features=shapes["fc.weight"][1],
        middle=shapes["fc.weight"][0],
        blocks=count(shapes, "G_middle_{}.conv_1.bias"),
        widths=tuple(shapes[f"up_{index}.conv_1.bias"][0] for index in range(doublings)),
        hidden=shapes["up_0.norm_0.mlp_shared.0.bias"][0],
        shuffle=math.isqrt(shapes["conv_img.0.bias"][0] // 3),
    )


def retargeting_config(shapes: TensorShapes) -> RetargetingConfig:
    """Config of the three perceptrons from their checkpoint's shapes."""

    def widths(name: str) -> tuple[int, ...]:
        layers = [shapes[f"{name}.mlp.0.weight"]]
        while (key := f"{name}.mlp.{2 * len(layers)}.weight") in shapes:
            layers.append(shapes[key])
        return (layers[0][1], *(layer[0] for layer in layers))

    return RetargetingConfig(widths("retarget_shoulder"), widths("retarget_mouth"), widths("retarget_eye"))
