"""Perceptual distance: LPIPS from its package, or the same formula on features of the model's keypoint extractor."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from ..backends.personalive.model import PersonaLive
from ..errors import InputError
from ..modules.keypoints import PICTURE_SIZE

Distance = Callable[[Tensor, Tensor], Tensor]  # (predicted, true), pictures [N, 3, H, W] in [-1, 1] -> one number
KINDS = ("lpips", "extractor")


def feature_distance(predicted: list[Tensor], true: list[Tensor]) -> Tensor:
    """Sum over layers of the mean squared difference of unit-length features (arXiv 1801.03924, equation 1, w = 1)."""
    pairs = zip(predicted, true, strict=True)
    return sum((_unit(a) - _unit(b)).square().sum(1).mean() for a, b in pairs)  # type: ignore[return-value]


def _unit(features: Tensor) -> Tensor:
    return functional.normalize(features.float(), dim=1)


def extractor_features(model: PersonaLive, pictures: Tensor) -> list[Tensor]:
    """The feature map of each stage of the keypoint extractor, for pictures [N, 3, H, W] in [-1, 1]."""
    x = functional.interpolate(pictures, size=PICTURE_SIZE, mode="bilinear") / 2 + 0.5
    return model.motion_extractor.detector.maps(x)


def perceptual_distance(kind: str, model: PersonaLive) -> Distance:
    """The distance named `kind`, one of KINDS. Raises InputError for another kind, or without the lpips package."""
    if kind == "extractor":
        return lambda a, b: feature_distance(extractor_features(model, a), extractor_features(model, b))
    if kind != "lpips":
        raise InputError(f"there is no perceptual distance {kind!r}: use one of {', '.join(KINDS)}")
    try:
        import lpips
    except ImportError as error:
        raise InputError(
            "the perceptual loss needs the lpips package, which fetches VGG's weights once: `pip install lpips`"
        ) from error
    network = lpips.LPIPS(net="vgg", verbose=False).requires_grad_(False)
    return partial(_mean, network)


def _mean(network: nn.Module, predicted: Tensor, true: Tensor) -> Tensor:
    distance: Tensor = network.to(predicted.device)(predicted, true).mean()
    return distance
