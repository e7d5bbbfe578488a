"""Trains the landmark network that `evaluate` measures with: on drawn people, blurred as a model might blur them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from ..drawn.landmarker import LANDMARKER_FILE, Landmarker
from ..media.files import save_tensors
from .augment import recolour
from .data import generator, landmarks_of, normal
from .files import make_folder
from .losses import Losses, absolute_error
from .presets import Preset
from .source import Source, signed_on

BLUR = 4  # downsampling factor of the strongest blur
NOISE = 0.03  # standard deviation of the strongest noise


def landmark_losses(network: Landmarker, source: Source, row: Preset, *numbers: int) -> Losses:
    """Mean absolute error, in pixels per coordinate, to the renderer's landmarks; on recoloured, degraded pictures."""
    picks = source.picks(row.clips, 1, False, *numbers)
    clips = [(source.data.clip(p.clip), p.driving[0]) for p in picks]
    device = source.model.device
    pictures = torch.cat([signed_on(device, clip.pictures[i : i + 1]) for clip, i in clips])
    seen = worsened(recolour(pictures, row.augment, *numbers, 1), row.augment, *numbers)
    true = torch.stack([landmarks_of(clip)[i] for clip, i in clips])
    points = network(seen)
    return {"pixels": row.size / 2 * absolute_error(points, true.to(points))}


def worsened(pictures: Tensor, strength: float, *numbers: int) -> Tensor:
    """Blurs each picture [N, 3, S, S] by a random amount, more often a small one, and adds noise in proportion."""
    amount = torch.tensor(generator(*numbers, 2).random(len(pictures)) ** 2).to(pictures)[:, None, None, None]
    soft = functional.interpolate(functional.avg_pool2d(pictures, BLUR), scale_factor=BLUR, mode="bilinear")
    noise = NOISE * amount * normal(pictures.shape, *numbers, 3).to(pictures)
    return pictures + strength * (amount * (soft - pictures) + noise)


def save_landmarker(network: Landmarker, _: object, folder: Path) -> None:
    """Writes the network into `folder` in float16; a run's export that ignores the model. Raises OutputError."""
    make_folder(folder)
    save_tensors(folder / LANDMARKER_FILE, {key: tensor.half() for key, tensor in network.state_dict().items()})
