"""Losses for the networks that the paper takes pretrained: VAE, keypoint extractor, initial facial embedding."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..backends.personalive.model import PersonaLive
from ..backends.personalive.motion import crop_faces
from ..backends.personalive.types import LATENT_SCALE
from ..drawn.landmarker import soft_argmax
from ..drawn.truth import EXPRESSION, TOKENS
from ..media.tensors import to_signed
from ..modules.face_encoder import FACE_SIZE, FaceEncoder
from ..modules.keypoints import KEYPOINTS, PICTURE_SIZE
from .augment import recolour
from .data import Clip, generator, landmarks_of, normal
from .judging import Judged, PictureLoss
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
from .regions import told_numbers
from .source import Source, acted, signed_on

# VAE loss weights, relative to the squared error; small, as the gradient of an absolute error does not shrink with it
PIXELS, EDGES, KL = 0.03, 0.03, 3e-5
# extractor loss weights: each term ends near 1; a cross-entropy, and lengths in units of half the picture
ANGLE_WEIGHT, LENGTH_WEIGHT, PLACE_WEIGHT = 1.5, 30.0, 10.0
SEEN = 0.02  # loss weight of the landmarks' cross-entropy, relative to the facial embedding's error
# the expression number that each cell of the facial encoder's map gives: a cell near that feature in the face crop
READING = (
    ("brow left", "gaze right", "gaze down", "brow right"),
    ("blink left", "cheek", "", "blink right"),  # "": the baseline, subtracted from every other cell
    ("smile", "mouth", "pucker", "jaw"),
)
NULL = 1e-5  # relative cutoff of singular values: drops sums of features that a norm keeps constant
JITTER = 0.04  # standard deviation of the error of a training box's edges, in box sides


def vae_losses(judge: PictureLoss, source: Source, row: Preset, *numbers: int) -> Losses:
    """`picture_losses` of decoded posterior samples of random crops, a small KL term, and what `judge` adds to them."""
    pictures, weight = _crops(source, row, *numbers)
    posterior = source.model.vae.encode(pictures).latent_dist
    noise = normal(posterior.mean.shape, *numbers, 1).to(posterior.mean)
    decoded = source.model.vae.decode(posterior.mean + posterior.std * noise).sample
    kl = KL * kl_to_normal(posterior.mean.float(), posterior.logvar.float())
    losses = picture_losses(decoded, pictures, weight) | judge.look(row, decoded.float(), pictures, Judged(numbers[1]))
    return {**losses, "kl": kl}


def decoder_losses(judge: PictureLoss, source: Source, row: Preset, *numbers: int) -> Losses:
    """The same of decoded latents; the encoder gets no gradient, so that existing latents stay valid."""
    pictures, weight = _crops(source, row, *numbers)
    with torch.no_grad():
        latents = source.model.vae.encode(pictures).latent_dist.mean
    decoded = source.model.vae.decode(latents).sample
    return picture_losses(decoded, pictures, weight) | judge.look(row, decoded.float(), pictures, Judged(numbers[1]))


def picture_losses(decoded: Tensor, true: Tensor, weight: Tensor) -> Losses:
    """L2 of pixels [N, 3, S, S], and a little L1 of pixels and edges; `weight` [N, 1, S, S] is per pixel."""
    decoded, true = decoded.float(), true.float()
    return {
        "l2": squared_error(decoded, true, weight),
        "pixels": PIXELS * absolute_error(decoded, true, weight),
        "edges": EDGES * edge_error(decoded, true, weight),
    }


def fresh_pointers(widths: tuple[int, ...]) -> nn.ModuleList:
    """Auxiliary layers, not exported: each maps the features of one of the last two stages to a heat map per keypoint.

    The stages learn far faster from positions in the picture than from the mean over all positions, which the heads
    read. `widths` are the channels of all stages.
    """
    return nn.ModuleList(nn.Conv2d(width, KEYPOINTS, 1) for width in widths[-2:])


def keypoint_losses(pointers: nn.ModuleList, source: Source, row: Preset, *numbers: int) -> Losses:
    """Cross-entropy of the angles' bins, L1 of translation, scale and canonical keypoints, to the clips' values.

    Each must be right by itself, as retargeting mixes it with another person's. Also L1 of the posed keypoints'
    positions in the heat maps of `pointers`.
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
    """Solves the heads of translation, scale and canonical keypoints by least squares on about `count` pictures.

    The heads are linear in correlated features, where gradient descent hardly reaches the optimum.
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
    """L2 of the facial embedding to the code of the renderer's expression numbers, the same for every person.

    If all clips have landmarks, also the cross-entropy of the first heat maps to the landmarks' positions in the crop:
    the embedding is read out from these maps. Tokens of what an actor hides behind a hand do not count.
    """
    picks = _singles(source, row, *numbers)
    read = acted if row.crossed else _as_it_is
    clips = [(read(source.data.clip(clip)), frame) for clip, frame in picks]
    device = source.model.device
    pictures = torch.cat([signed_on(device, clip.pictures[frame : frame + 1]) for clip, frame in clips])
    boxes = jittered(torch.stack([clip.motion.box[frame] for clip, frame in clips]), row, *numbers)
    crops = recolour(crop_faces(pictures, boxes), row.augment, *numbers, 1)
    encoder = source.model.motion_encoder
    maps = encoder.model.maps(crops.to(source.model.device))
    embedding = encoder.read(maps)
    true = torch.stack([clip.motion.embedding[frame] for clip, frame in clips])
    told = torch.stack([told_tokens(clip, frame, row.crossed) for clip, frame in clips]).to(true)
    losses = {"embedding": squared_error(embedding.float(), true.to(embedding).float(), told.to(embedding.device))}
    if all(clip.landmarks is not None for clip, _ in clips):
        points = in_boxes(torch.stack([landmarks_of(clip)[frame] for clip, frame in clips]), boxes, row.size)
        losses["places"] = SEEN * heat_error(maps[:, : points.shape[1]].float(), points.to(maps.device))
    return losses


def told_tokens(clip: Clip, frame: int, crossed: bool) -> Tensor:
    """Which tokens [32, 1] of the facial embedding the crop tells: 0 for those behind the actor's hand, else 1."""
    if not crossed or clip.actor_hidden is None:
        return torch.ones(TOKENS, 1)
    told = told_numbers(clip.actor_hidden[frame : frame + 1])
    return told[0, torch.arange(TOKENS) % len(EXPRESSION), None].float()


def _as_it_is(clip: Clip) -> Clip:
    return clip


@torch.no_grad()
def read_in_cells(encoder: FaceEncoder) -> nn.ModuleList:
    """Sets the read-out so that each map cell gives one expression number; returns those layers, to be frozen.

    Trained, they would destroy the map. Their 784 inputs are all positive, so that one step changes their sums by
    hundreds of times the learning rate; the map is then pushed below its ReLU to compensate, and gets no gradient.
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
    """Face boxes [N, 4] with small random errors, like the extractor's; whole pixels inside the picture."""
    side = (boxes[:, 2:] - boxes[:, :2]).mean(1, keepdim=True)
    moved = row.augment * JITTER * side * normal((len(boxes), 4), *numbers, 3)
    return (boxes + moved).round().clamp(0, row.size - 1).long()


def in_boxes(points: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Points [N, K, 2] in [-1, 1] of pictures of `size` pixels a side -> in [-1, 1] of the boxes [N, 4] in pixels."""
    corner, side = boxes[:, None, :2].float(), (boxes[:, 2:] - boxes[:, :2])[:, None].float()
    return ((points + 1) * size / 2 - corner) / side * 2 - 1


@torch.no_grad()
def normalise_latents(model: PersonaLive, source: Source, count: int = 64) -> None:
    """Folds the latents' mean and deviation into the VAE's 1x1 convolutions: scaled latents get mean 0, variance 1.

    Measured on the first frames of about `count` clips.
    """
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
    before.bias[channels:] -= 2 * spread.log()  # the posterior's log variance is scaled with them
    after.bias += after.weight[:, :, 0, 0] @ mean
    after.weight *= spread[None, :, None, None]


def _singles(source: Source, row: Preset, *numbers: int) -> list[tuple[int, int]]:
    """Draws (clip, frame) of each picture of a batch."""
    return [(p.clip, p.driving[0]) for p in source.picks(row.clips, 1, False, *numbers)]


def _pictures(source: Source, place: tuple[int, int]) -> Tensor:
    """The picture [1, 3, S, S] in [-1, 1] of a (clip, frame), on the model's device."""
    clip, frame = place
    return signed_on(source.model.device, source.data.clip(clip).pictures[frame : frame + 1])


def _crops(source: Source, row: Preset, *numbers: int) -> tuple[Tensor, Tensor]:
    """A batch of random square crops [N, 3, C, C] of random pictures, and their pixels' loss weights [N, 1, C, C]."""
    draws, places = generator(*numbers, 2), _singles(source, row, *numbers)
    pictures = torch.cat([_pictures(source, place) for place in places])
    box = torch.stack([source.data.clip(clip).motion.box[frame] for clip, frame in places])
    weighed = torch.cat([pictures, face_weight(box, pictures.shape[-1], row.face).to(pictures)], dim=1)
    crops = torch.cat([_crop(part, row.crop, draws) for part in weighed.split(1)]).to(source.model.device)
    return crops[:, :-1], crops[:, -1:]


def _crop(picture: Tensor, side: int, draws: np.random.Generator) -> Tensor:
    """A random square crop of [1, C, S, S], `side` pixels a side; 0: the whole picture."""
    if not side:
        return picture
    top, left = (int(n) for n in draws.integers(picture.shape[-1] - side + 1, size=2))
    return picture[..., top : top + side, left : left + side]
