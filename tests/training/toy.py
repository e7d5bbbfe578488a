"""A world small enough to learn in seconds: people who are a colour, and whose motion says which quarter is bright."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional

from personalive_core.backends.personalive.types import LATENT_SCALE
from personalive_core.modules.keypoints import pose_keypoints
from personalive_core.motion.types import HeadPose, HybridMotion
from personalive_core.training.data import Clip, Dataset
from personalive_core.training.networks import SHAPES, fresh
from personalive_core.training.presets import Preset
from personalive_core.training.source import Source

SIZE = 64
LIVELY = ("reference_unet", "denoising_unet", "pose_guider", "image_encoder")
UNETS = ("reference_unet", "denoising_unet", "pose_guider")
RED, BLUE = (200, 40, 40), (40, 40, 200)
PLACES = torch.tensor([(-0.5, -0.5), (0.5, 0.5), (0.5, -0.5), (-0.5, 0.5)])


def toy_clip(colour, frames, size=SIZE):
    """`frames` frames of a person of that colour; of each frame the next of PLACES is white."""
    which = torch.arange(frames) % len(PLACES)
    pictures = torch.tensor(colour, dtype=torch.uint8).expand(frames, size, size, 3).clone()
    for picture, (x, y) in zip(pictures, PLACES[which].tolist(), strict=True):
        left, top = (0 if side < 0 else size // 2 for side in (x, y))
        picture[top : top + size // 2, left : left + size // 2] = 255
    canonical = 0.3 * torch.randn(1, 21, 3, generator=torch.Generator().manual_seed(1)).expand(frames, -1, -1)
    places = torch.cat([PLACES[which], torch.zeros(frames, 1)], 1)
    pose = HeadPose(torch.zeros(frames, 3), places, torch.ones(frames, 1))
    code = torch.randn(len(PLACES), 32, 16, generator=torch.Generator().manual_seed(2))  # 32 apart from one another
    box = torch.tensor([8.0, 8.0, size - 8, size - 8]).expand(frames, -1)
    motion = HybridMotion(code[which], pose_keypoints(canonical, pose), pose, box, torch.ones(frames, dtype=torch.bool))
    return Clip(pictures, motion, canonical)


def toy_source(model, *clips):
    """Clips that no file holds."""
    return Source(Dataset(tuple(Path(f"{i}") for i in range(len(clips))), dict(enumerate(clips))), model)


class ToyVae(nn.Module):
    """Latents are the colours of blocks of 8x8 pixels, and the fourth channel is empty: exact for toy clips."""

    def encode(self, pictures):
        colours = functional.avg_pool2d(pictures, 8)
        return SimpleNamespace(
            latent_dist=SimpleNamespace(mean=functional.pad(colours, (0, 0, 0, 0, 0, 1)) / LATENT_SCALE)
        )

    def decode(self, latents):
        return SimpleNamespace(sample=functional.interpolate(latents[:, :3] * LATENT_SCALE, scale_factor=8.0))


@cache
def _weights():
    model = fresh(SHAPES["twin"], 0)
    with torch.no_grad():
        for name in LIVELY:
            for key, parameter in getattr(model, name).named_parameters():
                parameter.mul_(0 if key.endswith("bias") else 1)
        model.pose_guider.conv_out_modify.weight.zero_()
    return {name: getattr(model, name).state_dict() for name in LIVELY}


@torch.no_grad()
def speaking(model):
    """`model` with an output layer that is not zero: a fresh one holds back the gradients of all before it."""
    weight = model.denoising_unet.conv_out.weight
    weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(4)) / weight[0].numel() ** 0.5)
    return model


def twin():
    """Networks of the smallest size that learn fast: their layers keep their input's size, and the VAE is exact."""
    model = replace(fresh(SHAPES["twin"], 0), vae=ToyVae())
    for name, weights in _weights().items():
        getattr(model, name).load_state_dict(weights)
    return model


def row_of(**changed):
    """A preset for seconds: a high rate, no average, everything at once."""
    return replace(
        Preset(40, UNETS, rate=3e-3, clips=2, size=SIZE, ema=0.0, perceptual=0.0, adversarial=0.0), **changed
    )
