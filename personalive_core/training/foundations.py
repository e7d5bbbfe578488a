"""What the paper takes ready-made, learned for a model of our own: VAE, keypoint extractor, first facial embedding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import crop_faces
from ..backends.personalive.types import LATENT_SCALE
from ..drawn.landmarker import soft_argmax
from ..drawn.truth import EXPRESSION
from ..media.tensors import to_signed
from ..modules.face_encoder import FACE_SIZE, FaceEncoder
from ..modules.keypoints import KEYPOINTS, PICTURE_SIZE
from .augment import recolour
from .data import generator, landmarks_of, normal
from .losses import (
    Losses,
    absolute_error,
    bin_error,
    edge_error,
    face_weight,
    heat_error,
    kl_to_normal,
    squared_error,
)
from .prepare import facial_code
from .presets import Preset
from .source import Source

# weights of the VAE's terms beside the squared error; gradients of absolute ones stay as large as they are at the end
PIXELS, EDGES, KL = 0.03, 0.03, 3e-5
# weights of the extractor's losses, about one each at the end: a cross-entropy, and fractions of half a picture
ANGLE_WEIGHT, LENGTH_WEIGHT, PLACE_WEIGHT = 1.5, 30.0, 10.0
SEEN = 0.02  # weight of the landmarks' cross-entropy beside the facial embedding's error
# which expression number is read off which cell of a facial encoder's map: near what it is about, as the crop shows it
READING = (
    ("brow left", "gaze right", "gaze down", "brow right"),
    ("blink left", "cheek", "", "blink right"),  # what the others differ from
    ("smile", "mouth", "pucker", "jaw"),
)
NULL = 1e-5  # singular values below this share of the largest: sums of features that a norm keeps constant
JITTER = 0.04  # standard deviation of a training box's sides, in box sides


def vae_losses(source: Source, row: Preset, *numbers: int) -> Losses:
    """What `picture_losses` says of decoded posterior samples, and a small KL term, on crops."""
    pictures, weight = _crops(source, row, *numbers)
    posterior = source.model.vae.encode(pictures).latent_dist
    noise = normal(posterior.mean.shape, *numbers, 1).to(posterior.mean)
    decoded = source.model.vae.decode(posterior.mean + posterior.std * noise).sample
    kl = KL * kl_to_normal(posterior.mean.float(), posterior.logvar.float())
    return {**picture_losses(decoded, pictures, weight), "kl": kl}


def decoder_losses(source: Source, row: Preset, *numbers: int) -> Losses:
    """What `picture_losses` says of decoded latents; the encoder stays as it is, and so do latents made before."""
    pictures, weight = _crops(source, row, *numbers)
    with torch.no_grad():
        latents = source.model.vae.encode(pictures).latent_dist.mean
    return picture_losses(source.model.vae.decode(latents).sample, pictures, weight)


def picture_losses(decoded: Tensor, true: Tensor, weight: Tensor) -> Losses:
    """L2 of pixels, and a little L1 of pixels and edges, with a weight [N, 1, S, S] of each pixel."""
    decoded, true = decoded.float(), true.float()
    return {
        "l2": squared_error(decoded, true, weight),
        "pixels": PIXELS * absolute_error(decoded, true, weight),
        "edges": EDGES * edge_error(decoded, true, weight),
    }


def fresh_pointers(widths: tuple[int, ...]) -> nn.ModuleList:
    """Layers that learn beside the extractor: each maps what one of its last two stages sees to a map a keypoint.

    What pictures show where teaches the stages far faster than the mean over all places, which the heads read.
    """
    return nn.ModuleList(nn.Conv2d(width, KEYPOINTS, 1) for width in widths[-2:])


def keypoint_losses(pointers: nn.ModuleList, source: Source, row: Preset, *numbers: int) -> Losses:
    """Cross-entropy of the angles' bins, L1 of translation, scale and canonical keypoints, to the true numbers.

    Each has to be right by itself, for retargeting mixes them with another person's. Also L1 of where `pointers` see
    the posed keypoints.
    """
    picks = _singles(source, row, *numbers)
    pictures = torch.cat([_pictures(source, p) for p in picks])
    small = functional.interpolate(pictures, size=PICTURE_SIZE, mode="bilinear")
    small = recolour(small, row.augment, *numbers, 1) / 2 + 0.5
    extractor = source.model.motion_extractor
    maps = extractor.detector.maps(small.to(source.model.device))
    scores, pose, canonical = extractor.read(extractor.detector.summary(maps[-1]))
    true = [source.data.clip(clip) for clip, _ in picks]
    index = [frame for _, frame in picks]

    def stack(values: list[Tensor]) -> Tensor:
        return torch.stack([value[i] for value, i in zip(values, index, strict=True)]).to(canonical)

    places = stack([c.motion.keypoints for c in true])[..., :2]
    seen = [soft_argmax(pointer(x).float()) for pointer, x in zip(pointers, maps[-2:], strict=True)]
    return {
        "angles": ANGLE_WEIGHT * bin_error(scores, stack([c.motion.pose.angles for c in true])),
        "translation": LENGTH_WEIGHT
        * absolute_error(pose.translation, stack([c.motion.pose.translation for c in true])),
        "scale": LENGTH_WEIGHT * absolute_error(pose.scale, stack([c.motion.pose.scale for c in true])),
        "keypoints": LENGTH_WEIGHT * absolute_error(canonical, stack([c.canonical for c in true])),
        "places": PLACE_WEIGHT * sum((absolute_error(points, places) for points in seen), places.new_zeros(())),
    }


@torch.no_grad()
def solve_lengths(model: PersonaLive, source: Source, count: int = 2048) -> None:
    """The heads of translation, scale and canonical keypoints by least squares over `count` pictures of the data.

    They are linear in features that depend on one another: descent hardly gets to where the best of them are.
    """
    places = [(clip, frame) for clip in range(len(source.data)) for frame in range(len(source.data.clip(clip)))]
    places = places[:: max(1, len(places) // count)]
    detector = model.motion_extractor.detector
    seen, true = [], []
    for clip, frame in places:
        picture = functional.interpolate(_pictures(source, (clip, frame)), size=PICTURE_SIZE, mode="bilinear")
        seen.append(detector((picture / 2 + 0.5).to(model.device)))
        known = source.data.clip(clip)
        pose = known.motion.pose
        true.append(torch.cat([pose.translation[frame], pose.scale[frame], known.canonical[frame].flatten()]))
    features = functional.pad(torch.cat(seen).double().cpu(), (0, 1), value=1.0)
    found = torch.linalg.lstsq(features, torch.stack(true).double(), rcond=NULL, driver="gelsd").solution
    heads = (detector.fc_t, detector.fc_scale, detector.fc_kp)
    for head, part in zip(heads, found.T.split([head.out_features for head in heads]), strict=True):
        head.weight.copy_(part[:, :-1])
        head.bias.copy_(part[:, -1])


def face_losses(source: Source, row: Preset, *numbers: int) -> Losses:
    """L2 of the facial embedding to the code of the renderer's expression numbers, whoever shows it.

    Also cross-entropy of where the first heat maps see the landmarks in the crop: the embedding is read from them.
    """
    picks = _singles(source, row, *numbers)
    clips = [(source.data.clip(clip), frame) for clip, frame in picks]
    pictures = torch.cat([_pictures(source, place) for place in picks])
    boxes = jittered(torch.stack([clip.motion.box[frame] for clip, frame in clips]), row, *numbers)
    crops = recolour(crop_faces(pictures, boxes), row.augment, *numbers, 1)
    encoder = source.model.motion_encoder
    maps = encoder.model.maps(crops.to(source.model.device))
    embedding = encoder.read(maps)
    true = torch.stack([clip.motion.embedding[frame] for clip, frame in clips])
    losses = {"embedding": squared_error(embedding.float(), true.to(embedding).float())}
    if all(clip.landmarks is not None for clip, _ in clips):
        points = in_boxes(torch.stack([landmarks_of(clip)[frame] for clip, frame in clips]), boxes, row.size)
        losses["places"] = SEEN * heat_error(maps[:, : points.shape[1]].float(), points.to(maps.device))
    return losses


@torch.no_grad()
def read_in_cells(encoder: FaceEncoder) -> nn.ModuleList:
    """Has the embedding read off the encoder's one map as the code of a number a cell; the layers that read it so.

    They had better stay: their 784 inputs are all positive, so that each step moves their sums by hundreds of times
    its rate, and the map, pushed down to make up for it, dies.
    """
    names, side = [name for row in READING for name in row], FACE_SIZE // 8
    axis = torch.arange(side)
    cells = (axis * len(READING) // side)[:, None] * len(READING[0]) + axis * len(READING[0]) // side
    inside = torch.stack([(cells.flatten() == index).float() for index in range(len(names))])
    means = inside / inside.sum(1, keepdim=True)
    differences = torch.stack([means[names.index(name)] for name in EXPRESSION]) - means[names.index("")]
    count = len(EXPRESSION)
    code = (facial_code(torch.eye(count)) - facial_code(torch.zeros(1, count))).flatten(1)
    layers = nn.ModuleList([encoder.model.fc, encoder.final_proj])
    encoder.model.fc.weight.copy_(code.T @ differences)
    encoder.final_proj.weight.copy_(torch.eye(code.shape[1]))
    for key, bias in layers.named_parameters():
        if key.endswith("bias"):
            bias.zero_()
    return layers


def jittered(boxes: Tensor, row: Preset, *numbers: int) -> Tensor:
    """Face boxes [N, 4] as an extractor that errs a little would give them, in whole pixels of the picture."""
    side = (boxes[:, 2:] - boxes[:, :2]).mean(1, keepdim=True)
    moved = row.augment * JITTER * side * normal((len(boxes), 4), *numbers, 3)
    return (boxes + moved).round().clamp(0, row.size - 1).long()


def in_boxes(points: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Points [N, K, 2] in [-1, 1] of pictures of `size` pixels -> in [-1, 1] of the boxes [N, 4]."""
    corner, side = boxes[:, None, :2].float(), (boxes[:, 2:] - boxes[:, :2])[:, None].float()
    return ((points + 1) * size / 2 - corner) / side * 2 - 1


@torch.no_grad()
def normalise_latents(model: PersonaLive, source: Source, count: int = 64) -> None:
    """Folds mean and spread of the latents into the VAE's 1x1 convolutions: scaled latents get mean 0, variance 1."""
    vae = model.vae
    step = max(1, len(source.data) // count)
    pictures = torch.cat(
        [to_signed(source.data.clip(i).pictures[:1].numpy()) for i in range(0, len(source.data), step)]
    )
    latents = torch.cat([vae.encode(part.to(model.device)).latent_dist.mean for part in pictures.split(8)])
    mean, spread = latents.mean((0, 2, 3)), latents.std((0, 2, 3)) * LATENT_SCALE
    channels = len(mean)
    before, after = vae.quant_conv, vae.post_quant_conv
    before.weight[:channels] /= spread[:, None, None, None]
    before.bias[:channels] = (before.bias[:channels] - mean) / spread
    before.bias[channels:] -= 2 * spread.log()  # the posterior's log variance follows
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= spread[None, :, None, None]


def _singles(source: Source, row: Preset, *numbers: int) -> list[tuple[int, int]]:
    """(clip, frame) of each picture of a batch."""
    return [(p.clip, p.driving[0]) for p in source.picks(row.clips, 1, False, *numbers)]


def _pictures(source: Source, place: tuple[int, int]) -> Tensor:
    clip, frame = place
    return to_signed(source.data.clip(clip).pictures[frame : frame + 1].numpy())


def _crops(source: Source, row: Preset, *numbers: int) -> tuple[Tensor, Tensor]:
    """A batch of random squares of random pictures, [N, 3, C, C], and what their pixels count, [N, 1, C, C]."""
    draws, places = generator(*numbers, 2), _singles(source, row, *numbers)
    pictures = torch.cat([_pictures(source, place) for place in places])
    box = torch.stack([source.data.clip(clip).motion.box[frame] for clip, frame in places])
    weighed = torch.cat([pictures, face_weight(box, pictures.shape[-1], row.face).to(pictures)], dim=1)
    crops = torch.cat([_crop(part, row.crop, draws) for part in weighed.split(1)]).to(source.model.device)
    return crops[:, :-1], crops[:, -1:]


def _crop(picture: Tensor, side: int, draws: np.random.Generator) -> Tensor:
    """A random square of [1, C, S, S], `side` pixels a side; 0: the whole."""
    if not side:
        return picture
    top, left = (int(n) for n in draws.integers(picture.shape[-1] - side + 1, size=2))
    return picture[..., top : top + side, left : left + side]
