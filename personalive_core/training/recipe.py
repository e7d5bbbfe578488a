"""Builds each stage for the training loop: objective, extra networks, sample sheet, finish and export."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.types import STREAM, StreamConfig
from ..drawn.landmarker import LANDMARKER_FILE, Landmarker, load_landmarker
from ..errors import InputError
from ..media.tensors import to_signed
from .data import open_dataset
from .discriminator import Discriminator, begin_unlevelled
from .foundations import (
    decoder_losses,
    face_losses,
    fresh_pointers,
    keypoint_losses,
    normalise_latents,
    read_in_cells,
    solve_lengths,
    vae_losses,
)
from .judging import PictureLoss
from .landmarks import landmark_losses, save_landmarker
from .loop import Stage
from .networks import SHAPES, chunked, fresh, initialise, recomputing, remembering, trainable, with_region_cue
from .perceptual import perceptual_distance
from .presets import Preset
from .source import Source
from .stages import distillation_losses, image_losses, sample_pictures, streaming_losses

SHEET_CLIPS = 6


def frames_needed(stage: str, row: Preset) -> int:
    """The smallest number of frames of a clip that the stage can use."""
    return StreamConfig(window=row.frames).lookahead + row.chunks * row.frames if stage == "3" else 2


def stage_of(stage: str, row: Preset, model: PersonaLive, seed: int) -> Stage:
    """Builds `stage` for the loop; extra networks are initialised from `seed`. "face" changes the model's read-out."""
    if stage in ("vae", "decoder"):
        losses, finish = (vae_losses, normalise_latents) if stage == "vae" else (decoder_losses, None)
        judge, extra = judge_of(row, model, seed)
        return Stage(partial(losses, judge), extra, vae_sheet, finish)
    if stage == "keypoints":
        pointers = fresh_pointers(model.motion_extractor.detector.widths)
        initialise(pointers, f"{seed}.pointers")
        losses = partial(keypoint_losses, pointers)
        return Stage(losses, nn.ModuleDict({"pointers": pointers}), finish=solve_lengths)
    if stage == "face":
        return Stage(face_losses, nn.ModuleDict(), statistics=True, frozen=read_in_cells(model.motion_encoder))
    if stage == "1":
        return Stage(image_losses, nn.ModuleDict(), stream_sheet)
    if stage == "landmarks":
        network = Landmarker()
        initialise(network, f"{seed}.landmarker")
        return landmark_stage(network)
    judge, extra = judge_of(row, model, seed)
    objective = distillation_losses if stage == "2" else streaming_losses
    return Stage(partial(objective, judge), extra, stream_sheet)


def judge_of(row: Preset, model: PersonaLive, seed: int) -> tuple[PictureLoss, nn.ModuleDict]:
    """The loss on decoded pictures that `row` asks for, and the discriminator to train with it, if any."""
    extra, critic = nn.ModuleDict(), None
    if row.adversarial:
        critic = Discriminator(row.crop or row.size, levels=len(STREAM.timesteps) if row.leveled else 0)
        initialise(critic, f"{seed}.discriminator")
        begin_unlevelled(critic)
        extra["critic"] = critic
    return PictureLoss(perceptual_distance(row.features, model) if row.perceptual else None, critic), extra


def assemble(
    name: str, stage: str, row: Preset, data: Sequence[Path], start: Path | None, seed: int
) -> tuple[Source, Stage]:
    """Builds the source and the stage of a run of preset `name`, from the weights in `start`, or from fresh ones.

    The stage "landmarks" takes LANDMARKER_FILE alone from `start`.

    Raises InputError where the preset needs weights to start from, or `data` holds no clip for the stage; WeightsError
    where `start` cannot be loaded.
    """
    if start is None and name not in SHAPES:
        raise InputError(f"preset {name} starts from weights: name their folder with --start")
    data_set = open_dataset(data, frames_needed(stage, row), row.size)
    if start and stage == "landmarks":
        network = load_landmarker(start / LANDMARKER_FILE).train()
        return Source(data_set, fresh(SHAPES[name], seed)), landmark_stage(network)
    model = trainable(start, torch.device("cpu")) if start else fresh(SHAPES[name], seed)
    if model.has_cue and stage in "123" and not row.region_cue:
        raise InputError(f"{start} has a region cue, which preset {name} does not train: choose portrait-regions")
    model = with_region_cue(model) if row.region_cue else model
    model = chunked(model, row.frames) if row.chunkwise else model
    model = remembering(model, row.history) if row.history else model
    source = Source(data_set, recomputing(model) if row.checkpointing else model)
    return source, stage_of(stage, row, source.model, seed)


def landmark_stage(network: Landmarker) -> Stage:
    """The stage that trains `network`, which is none of the model's."""
    export = partial(save_landmarker, network)
    return Stage(partial(landmark_losses, network), nn.ModuleDict({"landmarker": network}), export=export)


def vae_sheet(source: Source) -> list[Tensor]:
    """Two rows in [0, 1]: pictures, and their VAE reconstructions."""
    pictures = torch.cat([to_signed(source.data.clip(i).pictures[:1].numpy()) for i in _some(source)])
    vae = source.model.vae
    decoded = vae.decode(vae.encode(pictures.to(source.model.device)).latent_dist.mean).sample
    return [pictures / 2 + 0.5, decoded.float() / 2 + 0.5]


def stream_sheet(source: Source) -> list[Tensor]:
    """Three rows in [0, 1]: references, driving frames, and single pictures generated in four steps."""
    return sample_pictures(source, list(_some(source)))


def _some(source: Source) -> range:
    return range(min(SHEET_CLIPS, len(source.data)))
