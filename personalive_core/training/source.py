"""The source of training batches: a dataset, the networks that encode it, and a cache of its latents."""

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

ENCODED_AT_ONCE = 8  # pictures in one VAE call
PICKED = 9  # number of the random stream for picks; no stage uses it for anything else


@dataclass(frozen=True)
class Source:
    """The dataset and the networks that a stage draws its batches from."""

    data: Dataset
    model: PersonaLive
    # latent cache by clip; valid while the VAE encoder is frozen
    kept: dict[int, Tensor] = field(default_factory=dict, repr=False)

    def latents(self, clip: int) -> Tensor:
        """Latents [F, 4, h, w] of all frames of a clip, float32 on the CPU, where batches are assembled."""
        if clip not in self.kept:
            pictures = to_signed(self.data.clip(clip).pictures.numpy())
            with torch.no_grad():
                parts = [self.model.encode(part) for part in pictures.split(ENCODED_AT_ONCE)]
            self.kept[clip] = torch.cat(parts).float().cpu()
        return self.kept[clip]

    def picks(self, count: int, frames: int, consecutive: bool, *numbers: int) -> list[Pick]:
        """Draws `count` items of a batch; depends on `numbers` alone."""
        return [pick(self.data, frames, generator(*numbers, PICKED, item), consecutive) for item in range(count)]


@dataclass(frozen=True)
class Batch:
    """B items, each a reference and F driving frames with their motion."""

    reference: Tensor  # [B, 4, h, w] latents of the reference frames
    image: Tensor  # [B, 3, 224, 224] the same frames as input of the image encoder
    latents: Tensor  # [B, F, 4, h, w] of the driving frames
    pictures: Tensor  # [B, F, 3, S, S] in [-1, 1]
    embedding: Tensor  # [B, F, 32, 16] facial embeddings, as stored in the clips
    keypoints: Tensor  # [B, F, 21, 3]
    box: Tensor  # [B, F, 4] face boxes in pixels
    faces: Tensor | None  # [B * F, 3, 224, 224] augmented face crops; None where no network is trained on them


def batch(source: Source, picks: list[Pick], strength: float | None, *numbers: int) -> Batch:
    """Assembles the items of `picks`; with a `strength`, adds face crops augmented that much."""
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
    """Face crops [F, 3, 224, 224] in [-1, 1] of the frames `rows`."""
    return crop_faces(to_signed(clip.pictures[rows].numpy()), clip.motion.box[rows].long())


def encode_references(model: PersonaLive, batch: Batch, motion: HybridMotion, canonical: Tensor) -> Reference:
    """Encodes the reference of each of B items, with gradients; `motion` and `canonical` are the first item's."""
    clip = model.embed_image(batch.image)
    latent = batch.reference.to(model.device)
    return Reference(latent, clip, model.project_image(clip), model.project_tokens(latent, clip), motion, canonical)


def motion_features(model: PersonaLive, batch: Batch) -> MotionFeatures:
    """A batch's motion features for the denoising UNet; face crops, if any, replace the stored facial embeddings."""
    clips, frames = batch.latents.shape[:2]
    embedding = batch.embedding
    if batch.faces is not None:
        embedding = model.embed_faces(batch.faces).unflatten(0, (clips, frames))
    drawing = draw_keypoints(batch.keypoints.flatten(0, 1).to(model.device), batch.pictures.shape[-1])
    pose = model.pose_guider(drawing.to(model.dtype)).unflatten(0, (clips, frames))
    return MotionFeatures(embedding.to(model.device, model.dtype), pose)
