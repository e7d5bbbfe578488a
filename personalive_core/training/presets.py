"""The table of training presets: all hyperparameters that are not in the paper's equations, one row per stage."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from ..errors import InputError

STAGES = ("vae", "decoder", "keypoints", "face", "1", "2", "3", "landmarks")
# The first four train what the paper takes pretrained; the last trains the network that `evaluate` measures with.


@dataclass(frozen=True)
class Preset:
    """One stage of one model. Rate, decay and equation 8's loss weights are the paper's, the other defaults ours."""

    steps: int
    trains: tuple[str, ...]  # networks of PersonaLive to train; the others are frozen
    layers: str = ""  # only parameters whose name contains this are trained; the empty default matches all
    rate: float = 1e-5  # AdamW's learning rate
    decay: float = 0.01  # AdamW's weight decay
    warmup: int = 0  # steps over which the learning rate rises from 0
    cosine: bool = False  # the learning rate falls to a twentieth along half a cosine; False: constant
    clips: int = 1  # items per micro-batch
    frames: int = 4  # driving frames of each clip
    accumulation: int = 1  # micro-batches per step (gradient accumulation)
    ema: float = 0.999  # decay of the EMA weights, which are exported; 0: no EMA
    clip_norm: float = 1.0  # largest gradient norm; larger gradients are scaled down
    size: int = 512  # pixels a side
    crop: int = 0  # vae, decoder: pixels a side of the random training crops; 0: whole pictures
    checkpointing: bool = False  # gradient checkpointing: activations are recomputed, not stored
    snr_limit: float = 0.0  # the noise error is weighted by min(1 / SNR, limit); 0: unweighted, as in the paper
    levels: float = 0.0  # stage 1: share of the frames that get one of inference's noise levels
    augment: float = 1.0  # strength of the input augmentation; 0: none
    perceptual: float = 2.0  # loss weight in equation 8: vae, decoder, stages 2 and 3
    adversarial: float = 0.05  # likewise
    decoded: int = 0  # stage 2: decoded frames per batch, beside a latent loss on all; 0: all decoded, no latent loss
    face: float = 1.0  # weight of eyes, nose and mouth in picture losses, relative to the rest
    features: str = "lpips"  # features of the perceptual term: lpips, or extractor (the model's own, no download)
    chunks: int = 6  # stage 3: stream steps per training step
    learned: int = 2  # stage 3: how many of these carry gradients
    sliding: bool = True  # stage 3: the stream continues from its own outputs; False: from true latents (ablation)
    chunkwise: bool = False  # stage 3: temporal attention stays inside one chunk (ablation)
    save_every: int = 500  # steps from one checkpoint to the next
    crossed: bool = False  # face crops show another person with exactly the same motion: clips prepared with --actors
    minutes: float = 0.0  # of training; the stage ends at these or after `steps`, whichever is first; 0: by steps alone
    # what the published recipe (code of 2026-05-15) does otherwise; the defaults are without it
    resting: tuple[str, ...] = ()  # parameters not trained, "network.name" up to any length
    precision: str = "no"  # accelerate's name: no, bf16 or fp16
    margin: int = 0  # least number of frames between a reference and its driving frames, where a clip is that long
    jitter: str = "smooth"  # kind of the input augmentation: smooth (ours) or published
    target: str = "noise"  # stage 1: whose squared error is the loss: noise, or x0 (clean latents)
    noise_offset: float = 0.0  # stage 1: deviation of noise that is the same in all pixels of a channel
    masked: float = 0.0  # loss weight of the same error once more, in face, eyes and mouth alone
    dropped_image: float = 0.0  # share of the items without the reference's image embedding
    dropped_motion: float = 0.0  # share of the items without facial embeddings
    dropped_pose: float = 0.0  # share of the items without pose
    dropped_reference: float = 0.0  # share of the reference's tokens that are left out, others for each item
    pure_noise: bool = False  # stage 2: starts from noise alone; False: from the reference's latents under noise
    renoised: bool = False  # stages 2, 3: predicted x0 is noised anew to the next level; False: DDIM
    leveled: bool = False  # the discriminator is told the noise level
    penalty: float = 10.0  # loss weight of R1 at every step, as in StyleGAN2; 0: none
    critic_rate: float = 0.0  # the discriminator's learning rate; 0: as the others'
    generator_from: int = 0  # first step with the adversarial term
    critic_from: int = 0  # first step of the discriminator's own losses
    learned_chunks: tuple[int, ...] = ()  # stage 3: the steps with gradients; (): `learned` random ones
    whole: bool = False  # stage 3: all frames in flight are decoded, one by one; False: one window, and latents of all
    reread: bool = False  # stage 3: facial embeddings are read anew: the stored ones are older than the encoder
    history: int = 0  # stage 3: finished frames that stay in temporal attention, in the last fifth of the stage
    # the region cue, an idea of arXiv 2509.17476; the paper of PersonaLive has none
    region_cue: bool = False  # pixels of eyes, nose and mouth are a second input of the pose guider
    dropped_cue: float = 0.0  # share of the items without these


_UNETS = ("reference_unet", "denoising_unet")
_STAGE_1 = (*_UNETS, "pose_guider", "motion_encoder")
_PUBLISHED: dict[str, Any] = {  # what all stages of the published recipe share
    "ema": 0.0, "checkpointing": True, "precision": "fp16", "resting": ("reference_unet.up_blocks.3.",), "margin": 30,
    "jitter": "published", "masked": 1.0, "dropped_image": 0.1, "dropped_motion": 0.1, "dropped_pose": 0.1,
    "dropped_reference": 0.3,
}  # fmt: skip
_ADVERSARY: dict[str, Any] = {"renoised": True, "leveled": True, "penalty": 0.0, "critic_rate": 2e-5}

PRESETS: dict[tuple[str, str], Preset] = {
    # the published model and its recipe in full; batches are of one GPU, of which there were eight
    ("published", "1"): Preset(50_000, _STAGE_1, clips=8, frames=1, target="x0", noise_offset=0.05, **_PUBLISHED),
    ("published", "2"): Preset(
        50_000, _STAGE_1, clips=4, frames=1, pure_noise=True, generator_from=3_000, critic_from=5_000, **_PUBLISHED,
        **_ADVERSARY,
    ),
    ("published", "3"): Preset(  # prepared with --frames 40 --stride 4
        10_000, ("denoising_unet",), "temporal_modules", clips=1, frames=4, chunks=7, learned_chunks=(0, 3, 6),
        whole=True, reread=True, critic_from=50, **_PUBLISHED, **_ADVERSARY,
    ),
    # the small model that ships: one day on two CPU cores
    ("small", "vae"): Preset(  # no crops: their norm statistics differ; face weight: small eyes are lost first
        6000, ("vae",), rate=5e-4, decay=0.0, warmup=50, cosine=True, clips=4, frames=1, ema=0.995, size=128, face=6.0,
        perceptual=0.0, adversarial=0.0,
    ),
    ("small", "decoder"): Preset(
        1000, ("vae",), rate=5e-4, decay=0.0, warmup=50, cosine=True, clips=4, frames=1, ema=0.995, size=128, face=6.0,
        perceptual=0.0, adversarial=0.0,
    ),
    ("small", "keypoints"): Preset(  # rare saves: each one solves the heads, which takes a minute
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
    # equation 8 without the adversarial term; the perceptual one is small and uses our extractor's features, not LPIPS.
    # Of the VAE, only the decoder is trained, on the UNets' output: latents are encoded without gradients.
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


# A small model of 256 pixels, planned for thirteen minutes of one GPU: not run yet. Rates, batches and minutes are a
# plan; `steps` only ends what never gets there. The terms are the published recipe's, with the extractor's features.
_PLANNED: dict[str, Any] = {
    "steps": 200_000, "size": 256, "precision": "bf16", "cosine": True, "warmup": 50, "decay": 0.0,
    "save_every": 100_000,
}  # fmt: skip
_DROPPED: dict[str, Any] = {
    "masked": 1.0, "dropped_image": 0.1, "dropped_motion": 0.1, "dropped_pose": 0.1, "dropped_reference": 0.3,
}  # fmt: skip
_JUDGED: dict[str, Any] = {
    "features": "extractor", "perceptual": 0.02, "adversarial": 0.01, "leveled": True, "penalty": 0.0, "renoised": True,
    "critic_rate": 2e-4, "generator_from": 300,
}  # fmt: skip
PRESETS |= {
    ("portrait", "vae"): Preset(
        trains=("vae",), rate=1e-3, clips=32, frames=1, ema=0.995, face=6.0, minutes=3.5, perceptual=0.0,
        adversarial=0.01, penalty=0.0, critic_rate=2e-4, critic_from=400, generator_from=800, **_PLANNED
    ),
    ("portrait", "keypoints"): Preset(
        trains=("motion_extractor",), rate=1e-3, clips=64, frames=1, ema=0.995, minutes=1.5, **_PLANNED
    ),
    ("portrait", "face"): Preset(
        trains=("motion_encoder",), rate=1e-3, clips=64, frames=1, ema=0.99, minutes=1.3, crossed=True, **_PLANNED
    ),
    ("portrait", "1"): Preset(
        trains=(*_UNETS, "pose_guider", "image_encoder"), rate=7e-4, clips=16, frames=4, ema=0.995, levels=0.9,
        target="x0", noise_offset=0.05, minutes=3.2, **_PLANNED, **_DROPPED,
    ),
    ("portrait", "2"): Preset(
        trains=(*_UNETS, "pose_guider", "image_encoder", "vae"), rate=5e-4, clips=8, frames=4, ema=0.99, decoded=8,
        face=3.0, minutes=1.8, **_PLANNED, **_DROPPED, **_JUDGED,
    ),
    ("portrait", "3"): Preset(
        trains=("denoising_unet",), layers="temporal_modules", rate=3e-4, ema=0.98, chunks=7, learned_chunks=(0, 3, 6),
        whole=True, reread=True, augment=0.0, minutes=0.7, **_PLANNED, **_DROPPED, **(_JUDGED | {"generator_from": 50}),
    ),
}  # fmt: skip


# The paper's two stage-3 ablations, each trained separately: no sliding, chunk-wise attention.
PRESETS["small-unslid", "3"] = replace(PRESETS["small", "3"], sliding=False)
PRESETS["small-chunkwise", "3"] = replace(PRESETS["small", "3"], chunkwise=True)

# The portrait model whose stage 3 ends with history across windows (arXiv 2509.17476: three frames).
PRESETS |= {
    ("portrait-history", stage): replace(row, history=3 if stage == "3" else 0)
    for (name, stage), row in PRESETS.items()
    if name == "portrait"
}
# `portrait` with a region cue. It shows the actor: of the target's own pixels the model would learn to copy them.
_CUED: dict[str, Any] = {"region_cue": True, "crossed": True, "dropped_cue": 0.1}
for _stage in ("vae", "keypoints", "face", "1", "2", "3"):
    PRESETS["portrait-regions", _stage] = replace(
        PRESETS["portrait", _stage], **(_CUED if _stage in "123" else {"region_cue": True})
    )

# The small model's last hour: stage 2 again, from its weights, with a region cue, whose layer is not in what ships.
PRESETS["small-regions", "2"] = replace(
    PRESETS["small", "2"], clips=2, rate=4e-4, masked=2.0, ema=0.995, minutes=60.0, steps=200_000, **_CUED
)

# And its last minutes: the decoder alone, against a discriminator, on what the other networks make.
PRESETS["small-sharp", "2"] = replace(
    PRESETS["small-regions", "2"], trains=("vae",), decoded=0, rate=3e-4, adversarial=4e-3, penalty=1.0,
    critic_rate=5e-4, critic_from=0, generator_from=100, minutes=20.0,
)  # fmt: skip


def preset(name: str, stage: str) -> Preset:
    """The row of (name, stage). Raises InputError, which lists the rows, for an unknown one."""
    if (name, stage) not in PRESETS:
        there = ", ".join(f"{n} {s}" for n, s in PRESETS)
        raise InputError(f"there is no preset {name!r} for stage {stage!r}: choose one of {there}")
    return PRESETS[name, stage]
