"""The source of training batches: a dataset, the networks that encode it, and a cache of its latents."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import crop_faces
from ..backends.personalive.types import Reference
from ..device import upload
from ..errors import InputError
from ..media.tensors import signed
from ..modules.inputs import MotionFeatures
from ..modules.pose_guider import draw_keypoints
from ..modules.region_cue import draw_regions
from ..motion.types import HybridMotion
from .ahead import Ahead, portrait
from .augment import AUGMENTATIONS
from .data import Clip, Dataset, Pick, generator, pick
from .regions import region_boxes, without_hidden

ENCODED_AT_ONCE = 8  # pictures in one VAE call
CPU = torch.device("cpu")
PICKED = 9  # number of the random stream for picks; no stage uses it for anything else


@dataclass(frozen=True)
class Source:
    """The dataset and the networks that a stage draws its batches from."""

    data: Dataset
    model: PersonaLive
    # latent cache by clip; valid while the VAE encoder is frozen
    kept: dict[int, Tensor] = field(default_factory=dict, repr=False)
    ahead: Ahead | None = None  # reads the next steps' clips in threads; None: each is read when it is needed

    def latents(self, clip: int) -> Tensor:
        """Latents [F, 4, h, w] of all frames of a clip, float32 on the CPU, where batches are assembled."""
        if clip not in self.kept:
            pictures = self.data.clip(clip).pictures
            with torch.no_grad():
                parts = [
                    self.model.encode(signed_on(self.model.device, part)) for part in pictures.split(ENCODED_AT_ONCE)
                ]
            self.kept[clip] = torch.cat(parts).float().cpu()
        return self.kept[clip]

    def picks(self, count: int, frames: int, consecutive: bool, *numbers: int, margin: int = 0) -> list[Pick]:
        """Draws `count` items of a batch; depends on `numbers` alone. `margin` is that of `data.pick`."""

        def drawn(seed: int, step: int, *rest: int) -> list[Pick]:
            draws = (generator(seed, step, *rest, PICKED, item) for item in range(count))
            return [pick(self.data, frames, draw, consecutive, margin) for draw in draws]

        seed, step, *rest = numbers
        if self.ahead:
            for later in range(step + 1, step + 1 + self.ahead.steps):
                self.ahead.expect(self.data, drawn(seed, later, *rest))
        return drawn(seed, step, *rest)

    def portrait(self, item: Pick) -> Tensor:
        """The reference frame as input [1, 3, 224, 224] of the image encoder."""
        place = item.clip, item.reference
        return self.ahead.take(self.data, place) if self.ahead else portrait(self.data, place)


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
    regions: Tensor | None = None  # [B, F, 4, 4] boxes of `regions.ERROR_REGIONS` in pixels
    cue: Tensor | None = None  # [B, F, *CUE_SHAPE] int8; None: hidden, where the model has a region cue at all


def batch(
    source: Source,
    picks: list[Pick],
    strength: float | None,
    *numbers: int,
    jitter: str = "smooth",
    crossed: bool = False,
) -> Batch:
    """Assembles the items of `picks`; with a `strength`, adds face crops augmented that much, in the way `jitter`.

    `crossed` takes the crops from the clips' actors, who do the same. Raises InputError for clips without them.
    """
    clips = [source.data.clip(item.clip) for item in picks]
    rows = [torch.tensor(item.driving) for item in picks]
    pairs = list(zip(clips, picks, rows, strict=True))
    device = source.model.device
    pictures = torch.stack([signed_on(device, clip.pictures[row]) for clip, _, row in pairs])
    faces = None
    if strength is not None:
        crops = [face_crops(acted(clip) if crossed else clip, row, device) for clip, _, row in pairs]
        faces = AUGMENTATIONS[jitter](torch.cat(crops), strength, *numbers)
    return Batch(
        reference=torch.stack([source.latents(item.clip)[item.reference] for item in picks]),
        image=torch.cat([source.portrait(item) for item in picks]),
        latents=torch.stack([source.latents(item.clip)[row] for item, row in zip(picks, rows, strict=True)]),
        pictures=pictures,
        embedding=torch.stack([clip.motion.embedding[row] for clip, _, row in pairs]),
        keypoints=torch.stack([clip.motion.keypoints[row] for clip, _, row in pairs]),
        box=torch.stack([clip.motion.box[row] for clip, _, row in pairs]),
        faces=faces,
        regions=torch.stack([clip_regions(clip, crossed)[row] for clip, _, row in pairs]),
    )


def clip_regions(clip: Clip, crossed: bool = False) -> Tensor:
    """Boxes [F, 4, 4] of face, eyes and mouth in all frames of a clip, in pixels.

    `crossed`: empty for what the clip's actor hides behind a hand: nothing tells how it moves.
    """
    boxes = region_boxes(clip.motion.box, clip.landmarks, clip.pictures.shape[1])
    return without_hidden(boxes, clip.actor_hidden if crossed else None)


def signed_on(device: torch.device, pictures: Tensor) -> Tensor:
    """Pictures [F, S, S, 3] uint8 -> [F, 3, S, S] in [-1, 1] on `device`; only the bytes are copied to it."""
    return signed(upload(pictures, device).float()).permute(0, 3, 1, 2)


def acted(clip: Clip) -> Clip:
    """`clip` with its actor's pictures, face boxes, landmarks and keypoints; older files lack the last of these.

    Raises InputError for a clip without an actor.
    """
    if clip.actors is None or clip.actor_box is None:
        raise InputError("this preset needs clips with actors: prepare them with `train prepare --drawn N --actors`")
    keypoints = clip.motion.keypoints if clip.actor_keypoints is None else clip.actor_keypoints  # shown_in_cue refuses
    motion = replace(clip.motion, box=clip.actor_box, keypoints=keypoints)
    return replace(clip, pictures=clip.actors, motion=motion, landmarks=clip.actor_landmarks)


def face_crops(clip: Clip, rows: Tensor, device: torch.device = CPU) -> Tensor:
    """Face crops [F, 3, 224, 224] in [-1, 1] of the frames `rows`, on `device`."""
    return crop_faces(signed_on(device, clip.pictures[rows]), clip.motion.box[rows].long())


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
    keypoints, size = batch.keypoints.flatten(0, 1).to(model.device), batch.pictures.shape[-1]
    drawings = [draw_keypoints(keypoints, size).to(model.dtype)]
    if batch.cue is not None:
        drawings.append(draw_regions(batch.cue.flatten(0, 1), keypoints, size).to(model.dtype))
    pose = model.pose_guider(*drawings).unflatten(0, (clips, frames))
    return MotionFeatures(embedding.to(model.device, model.dtype), pose)
