"""A dataset beside the networks that read it: batches for a stage, and latents that are computed once."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import crop_faces
from ..backends.personalive.reference import clip_pixels
from ..backends.personalive.types import Reference
from ..media.tensors import to_signed
from ..modules.inputs import MotionFeatures
from ..modules.pose_guider import draw_keypoints
from ..motion.types import HybridMotion
from .augment import augment
from .data import Clip, Dataset, Pick, generator, pick

ENCODED_AT_ONCE = 8  # pictures
PICKED = 9  # what these random numbers are for: no stage draws any other under it


@dataclass(frozen=True)
class Source:
    """What a stage draws its batches from."""

    data: Dataset
    model: PersonaLive
    kept: dict[int, Tensor] = field(default_factory=dict, repr=False)  # latents by clip, of the VAE that stays as it is

    def latents(self, clip: int) -> Tensor:
        """[F, 4, h, w] of all frames of a clip, float32 on the CPU, where batches are put together."""
        if clip not in self.kept:
            pictures = to_signed(self.data.clip(clip).pictures.numpy())
            with torch.no_grad():
                parts = [self.model.encode(part) for part in pictures.split(ENCODED_AT_ONCE)]
            self.kept[clip] = torch.cat(parts).float().cpu()
        return self.kept[clip]

    def picks(self, count: int, frames: int, consecutive: bool, *numbers: int) -> list[Pick]:
        """`count` items of a batch, a function of `numbers`."""
        return [pick(self.data, frames, generator(*numbers, PICKED, item), consecutive) for item in range(count)]


@dataclass(frozen=True)
class Batch:
    """B clips: their reference, and F driving frames each with their motion."""

    reference: Tensor  # [B, 4, h, w] latents of the reference frames
    image: Tensor  # [B, 3, 224, 224] the same frames as the image encoder reads them
    latents: Tensor  # [B, F, 4, h, w] of the driving frames
    pictures: Tensor  # [B, F, 3, S, S] in [-1, 1]
    embedding: Tensor  # [B, F, 32, 16] their facial embeddings as prepared
    keypoints: Tensor  # [B, F, 21, 3]
    box: Tensor  # [B, F, 4] of their faces, in pixels
    faces: Tensor | None  # [B * F, 3, 224, 224] face crops, changed by `augment`; None when nobody learns from them


def batch(source: Source, picks: list[Pick], strength: float | None, *numbers: int) -> Batch:
    """The items of `picks`; a `strength` asks for face crops, changed that much."""
    clips = [source.data.clip(item.clip) for item in picks]
    rows = [torch.tensor(item.driving) for item in picks]
    pairs = list(zip(clips, picks, rows, strict=True))
    pictures = torch.stack([to_signed(clip.pictures[row].numpy()) for clip, _, row in pairs])
    faces = None
    if strength is not None:
        crops = [face_crops(clip, row) for clip, _, row in pairs]
        faces = augment(torch.cat(crops), strength, *numbers)
    return Batch(
        reference=torch.stack([source.latents(item.clip)[item.reference] for item in picks]),
        image=torch.cat([clip_pixels(Image.fromarray(c.pictures[p.reference].numpy())) for c, p, _ in pairs]),
        latents=torch.stack([source.latents(item.clip)[row] for item, row in zip(picks, rows, strict=True)]),
        pictures=pictures,
        embedding=torch.stack([clip.motion.embedding[row] for clip, _, row in pairs]),
        keypoints=torch.stack([clip.motion.keypoints[row] for clip, _, row in pairs]),
        box=torch.stack([clip.motion.box[row] for clip, _, row in pairs]),
        faces=faces,
    )


def face_crops(clip: Clip, rows: Tensor) -> Tensor:
    """[F, 3, 224, 224] in [-1, 1]."""
    return crop_faces(to_signed(clip.pictures[rows].numpy()), clip.motion.box[rows].long())


def encode_references(model: PersonaLive, batch: Batch, motion: HybridMotion, canonical: Tensor) -> Reference:
    """The reference of each of B clips, gradients and all; `motion` and `canonical` are of the first clip's."""
    clip = model.embed_image(batch.image)
    latent = batch.reference.to(model.device)
    return Reference(latent, clip, model.project_image(clip), model.project_tokens(latent, clip), motion, canonical)


def motion_features(model: PersonaLive, batch: Batch) -> MotionFeatures:
    """Hybrid motion of a batch as the denoising UNet reads it; face crops, where there are any, are embedded anew."""
    clips, frames = batch.latents.shape[:2]
    embedding = batch.embedding
    if batch.faces is not None:
        embedding = model.embed_faces(batch.faces).unflatten(0, (clips, frames))
    drawing = draw_keypoints(batch.keypoints.flatten(0, 1).to(model.device), batch.pictures.shape[-1])
    pose = model.pose_guider(drawing.to(model.dtype)).unflatten(0, (clips, frames))
    return MotionFeatures(embedding.to(model.device, model.dtype), pose)
