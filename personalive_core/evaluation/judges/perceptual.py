"""LPIPS from its package, whose backbone torchvision downloads."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...media.tensors import to_signed
from ...metrics.pictures import Numbers, Pictures
from ...metrics.temporal import PictureDistance
from ...metrics.types import Origin
from .types import Judge, JudgeOptions, OpenedJudge, sha256_of

# Of the files that torchvision fetches into torch's hub folder.
BACKBONE_FILES = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
BACKBONE_NAMES = {"alex": "AlexNet", "vgg": "VGG16"}
PAIRS_AT_ONCE = 4  # pairs in one forward pass


def open_lpips(options: JudgeOptions) -> OpenedJudge[PictureDistance]:
    """LPIPS 0.1 (arXiv 1801.03924). A reason without the package, or without the backbone's file and leave to fetch."""
    if importlib.util.find_spec("lpips") is None or importlib.util.find_spec("torchvision") is None:
        return "needs the lpips package, and the torchvision of the same build as torch: pip install lpips"
    file = Path(torch.hub.get_dir()) / "checkpoints" / BACKBONE_FILES[options.backbone]
    if not file.is_file() and not options.download:
        return f"needs {file.name}, which torchvision downloads: put it into {file.parent}, or give --download"
    try:
        import lpips
    except RuntimeError as error:  # torchvision's own
        return f"torchvision does not fit this torch ({error}): install the one of the same build"
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        network = lpips.LPIPS(net=options.backbone, verbose=False).requires_grad_(False).eval()
    return Judge(picture_distance(network), _origin(options.backbone, file))


def picture_distance(network: nn.Module) -> PictureDistance:
    """The distance of a network that compares [N, 3, H, W] in [-1, 1] with the same, PAIRS_AT_ONCE pairs at a time."""

    @torch.inference_mode()
    def distance(a: Pictures, b: Pictures) -> Numbers:
        parts = [
            network(to_signed(a[i : i + PAIRS_AT_ONCE]), to_signed(b[i : i + PAIRS_AT_ONCE])).flatten().double().numpy()
            for i in range(0, len(a), PAIRS_AT_ONCE)
        ]
        return np.concatenate(parts)

    return distance


def _origin(backbone: str, file: Path) -> Origin:
    return Origin(
        f"LPIPS 0.1 on {BACKBONE_NAMES[backbone]}",
        f"lpips (linear heads) and torchvision ({file.name})",
        sha256_of(file),
        "BSD-2-Clause; the backbone's is torchvision's, BSD-3-Clause",
    )
