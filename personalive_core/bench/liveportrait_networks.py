"""LivePortrait's networks in any width with random weights, and their floating-point operations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..backends.liveportrait.files import LIVE_NETWORKS
from ..backends.liveportrait.loader import assemble_live
from ..backends.liveportrait.model import LivePortrait
from ..backends.liveportrait.networks import LiveSizes, build_live
from ..errors import InputError
from ..modules.appearance import AppearanceConfig, AppearanceExtractor
from ..modules.dense_motion import WarpingConfig
from ..modules.keypoints import KeypointConfig, KeypointExtractor
from ..modules.retargeting import RetargetingNetworks
from ..modules.spade import SpadeConfig, SpadeDecoder
from ..modules.warping import WarpingNetwork
from .measure import count_flops
from .networks import random_state
from .standin import calm

PUBLISHED_WIDTH, SMALL_WIDTH = 512, 64  # channels of the decoder's first blocks
_SMALL_DEPTH = 4  # of the volume, whose masks cost most where channels are few
_STEP = 16  # the narrowest maps have a sixteenth of these channels
_SIDE = 256  # pixels of the pictures that the networks take
_SPREAD = 0.02  # of a random extractor's expressions: keypoints stay in the picture


def live_sizes(width: int) -> LiveSizes:
    """Sizes of all networks: the published ones at 512, else in proportion, with a small extractor and a flat volume.

    Raises InputError for a width that is no multiple of 16.
    """
    if width < _STEP or width % _STEP:
        raise InputError(f"LivePortrait's width is a multiple of {_STEP}, got {width}: use {PUBLISHED_WIDTH}")
    published = width == PUBLISHED_WIDTH
    half, narrow, depth = width // 2, width // _STEP, AppearanceConfig.depth if published else _SMALL_DEPTH
    return LiveSizes(
        AppearanceConfig(widths=(width // 8, width // 4, half), depth=depth, channels=narrow),
        KeypointConfig() if published else KeypointConfig(widths=(24, 48, 96, 192), depths=(1, 1, 2, 1)),
        WarpingConfig(channels=narrow, depth=depth, width=narrow, most=2 * width, out=half),
        SpadeConfig(features=half, middle=width, widths=(half, width // 8), hidden=width // 4),
    )


def random_live(width: int, device: torch.device, dtype: torch.dtype) -> LivePortrait:
    """The networks as they are loaded, folded, with weights that depend on their names alone."""
    sizes = live_sizes(width)
    with torch.device("meta"):
        networks: tuple[nn.Module, ...] = (
            AppearanceExtractor(sizes.appearance),
            KeypointExtractor(sizes.keypoints),
            WarpingNetwork(sizes.warping),
            SpadeDecoder(sizes.decoder),
            RetargetingNetworks(sizes.retargeting),
        )
    states = {name: random_state(name, network) for name, network in zip(LIVE_NETWORKS, networks, strict=True)}
    model = assemble_live(states.__getitem__, device, dtype)
    with torch.no_grad():
        calm(model.motion_extractor)
        model.motion_extractor.detector.fc_exp.weight.mul_(_SPREAD)
    return model


def count_live(width: int) -> dict[str, int]:
    """Floating-point operations of each network for a frame, by the stages' names; the meta device needs no weights."""
    with torch.device("meta"):
        model = build_live(live_sizes(width))

    def empty(*shape: int) -> Tensor:
        return torch.empty(shape, device="meta")

    pictures, keypoints = empty(1, 3, _SIDE, _SIDE), empty(1, 21, 3)
    with torch.inference_mode():
        volume = model.appearance_extractor(pictures)
        features = model.warping(volume, keypoints, keypoints).features
        calls = {
            "appearance": lambda: model.appearance_extractor(pictures),
            "motion": lambda: model.motion_extractor.detector(pictures),
            "warping": lambda: model.warping(volume, keypoints, keypoints),
            "decoder": lambda: model.decoder(features),
            "stitching": lambda: model.retargeting.retarget_shoulder(empty(1, 126)),
        }
        return {name: count_flops(call) for name, call in calls.items()}
