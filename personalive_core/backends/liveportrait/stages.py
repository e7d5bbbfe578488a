"""The network calls of each frame: functions of networks and tensors alone, see personalive/stages.py."""

from __future__ import annotations

from torch import Tensor

from ...modules.appearance import AppearanceExtractor
from ...modules.keypoints import KeypointExtractor
from ...modules.spade import SpadeDecoder
from ...modules.warping import WarpingNetwork


def extract_volume(extractor: AppearanceExtractor, pictures: Tensor) -> Tensor:
    """Pictures [F, 3, 256, 256] in [0, 1] -> feature volumes [F, 32, 16, 64, 64]."""
    volumes: Tensor = extractor(pictures)
    return volumes


def read_heads(extractor: KeypointExtractor, pictures: Tensor) -> tuple[Tensor, ...]:
    """Pictures [F, 3, 256, 256] in [0, 1] -> angles, translation, scale, canonical keypoints, expression; float32."""
    features = extractor.detector(pictures)
    _, pose, canonical = extractor.read(features)
    return pose.angles, pose.translation, pose.scale, canonical, extractor.expression(features)


def draw_frames(
    warping: WarpingNetwork, decoder: SpadeDecoder, volume: Tensor, source: Tensor, keypoints: Tensor
) -> Tensor:
    """Volumes [F, 32, 16, 64, 64] and keypoints [F, 21, 3] of both -> pictures [F, 3, 512, 512] in [0, 1], float32."""
    pixels: Tensor = decoder(warping(volume, source, keypoints).features).float()
    return pixels
