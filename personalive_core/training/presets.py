"""The table of training runs: every number of a stage that is not in the paper's equations, one row each."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..errors import InputError

STAGES = ("vae", "decoder", "keypoints", "face", "1", "2", "3", "landmarks")
# The first four make what the paper takes ready-made, the last what `evaluate` measures with.


@dataclass(frozen=True)
class Preset:
    """One stage of one model. Rate, decay and the weights of equation 8 are the paper's, the other defaults ours."""

    steps: int
    trains: tuple[str, ...]  # networks of PersonaLive that learn; the others stay as they are
    layers: str = ""  # what the names of those of their weights that learn hold; all names hold the default
    rate: float = 1e-5  # AdamW's learning rate
    decay: float = 0.01  # AdamW's weight decay
    warmup: int = 0  # steps over which the rate rises from 0
    cosine: bool = False  # the rate falls to a twentieth along half a cosine; False: it stays
    clips: int = 1  # items a micro-batch
    frames: int = 4  # driving frames of each clip
    accumulation: int = 1  # micro-batches a step
    ema: float = 0.999  # of the weights that are exported; 0: none
    clip_norm: float = 1.0  # largest norm of the gradient
    size: int = 512  # pixels a side
    crop: int = 0  # vae, decoder: pixels a side of the random crops that it learns from; 0: whole pictures
    checkpointing: bool = False  # activations computed twice instead of kept
    snr_limit: float = 0.0  # weight min(1 / SNR, limit) on the noise error; 0: none, as in the paper
    levels: float = 0.0  # stage 1: share of the frames that get one of the noise levels of inference
    augment: float = 1.0  # strength of the driving crop's changes
    perceptual: float = 2.0  # stages 2 and 3, equation 8
    adversarial: float = 0.05  # likewise
    decoded: int = 0  # stage 2: frames of a batch compared as pictures, and all of them as latents; 0: all as pictures
    face: float = 1.0  # how much more eyes, nose and mouth count in errors of pictures; 1: as much as the rest
    features: str = "lpips"  # what the perceptual term compares: lpips, or extractor (the model's own, no download)
    chunks: int = 6  # stage 3: steps of the stream in one step of training
    learned: int = 2  # stage 3: how many of them carry gradients
    sliding: bool = True  # stage 3: the stream goes on from its own outputs; False: always from true ones (ablation)
    chunkwise: bool = False  # stage 3: temporal modules end at the chunk (ablation)
    save_every: int = 500  # steps


_UNETS = ("reference_unet", "denoising_unet")
_STAGE_1 = (*_UNETS, "pose_guider", "motion_encoder")

PRESETS: dict[tuple[str, str], Preset] = {
    # the published size; steps and batches are ours, for one large GPU or several
    ("published", "1"): Preset(30_000, _STAGE_1, clips=8, frames=1, checkpointing=True),
    ("published", "2"): Preset(30_000, _UNETS, clips=4, frames=1, checkpointing=True),
    ("published", "3"): Preset(30_000, ("denoising_unet",), clips=1, frames=4, checkpointing=True),
    # the small model that ships: two processor cores, a day
    ("small", "vae"): Preset(  # whole pictures: norms of crops see something else; small eyes are lost first
        6000, ("vae",), rate=5e-4, decay=0.0, warmup=50, cosine=True, clips=4, frames=1, ema=0.995, size=128, face=6.0,
    ),
    ("small", "decoder"): Preset(
        1000, ("vae",), rate=5e-4, decay=0.0, warmup=50, cosine=True, clips=4, frames=1, ema=0.995, size=128, face=6.0,
    ),
    ("small", "keypoints"): Preset(  # each save solves for heads, which takes a minute
        10000, ("motion_extractor",), rate=1e-3, warmup=100, cosine=True, clips=16, frames=1, ema=0.995, size=128,
        save_every=2500,
    ),
    ("small", "face"): Preset(
        1800, ("motion_encoder",), rate=1e-3, warmup=30, cosine=True, clips=8, frames=1, ema=0.99, size=128
    ),
    ("small", "1"): Preset(
        8600, (*_UNETS, "pose_guider", "image_encoder"), rate=5e-4, warmup=100, cosine=True, clips=4, frames=4,
        size=128, snr_limit=math.inf, levels=0.9, ema=0.995,
    ),
    # equation 8 without its adversarial term, and little of a perceptual one: features of our own extractor, not LPIPS;
    # of the VAE the decoder alone learns, which learns what the UNets make: latents are computed without gradients
    ("small", "2"): Preset(
        2500, (*_UNETS, "pose_guider", "image_encoder", "vae"), rate=5e-4, warmup=50, cosine=True, clips=4, frames=4,
        size=128, ema=0.99, decoded=4, face=3.0, features="extractor", perceptual=0.02, adversarial=0.0,
    ),
    ("small", "3"): Preset(
        90, ("denoising_unet",), "temporal_modules", rate=3e-4, warmup=20, cosine=True, clips=1, frames=4, size=128,
        ema=0.98, face=3.0, features="extractor", perceptual=0.02, adversarial=0.0, snr_limit=math.inf, chunks=4,
    ),
    ("small", "landmarks"): Preset(5000, (), rate=2e-3, warmup=100, cosine=True, clips=16, frames=1, ema=0.0, size=128),
}  # fmt: skip


# The paper's ablations that take a training of their own.
PRESETS["small-unslid", "3"] = replace(PRESETS["small", "3"], sliding=False)
PRESETS["small-chunkwise", "3"] = replace(PRESETS["small", "3"], chunkwise=True)


def preset(name: str, stage: str) -> Preset:
    """The row of (name, stage). Raises InputError that says which rows there are."""
    if (name, stage) not in PRESETS:
        there = ", ".join(f"{n} {s}" for n, s in PRESETS)
        raise InputError(f"there is no preset {name!r} for stage {stage!r}: choose one of {there}")
    return PRESETS[name, stage]
