"""How close pictures are where means of pixels say little: sharpness, features, gaze, jaw and cheeks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..backends.personalive.model import PersonaLive
from ..drawn.truth import LANDMARKS
from ..metrics.pictures import Numbers, Pictures, unit
from ..modules.keypoints import PICTURE_SIZE
from .cases import Truth

EVERY = 4  # of this many frames one is compared by features
OPEN_EYE = 0.03  # least height of a true eye's opening, of pictures from -1 to 1, in which a pupil counts
WITHIN = 0.75  # share of an eye's opening in which its pupil is looked for
DISC = 0.07  # radius of what is compared around jaw and cheeks, of pictures from -1 to 1
BRIGHTNESS_OF_RGB = (0.299, 0.587, 0.114)  # ITU-R BT.601


def landmark_rows(*names: str) -> list[int]:
    return [LANDMARKS.index(name) for name in names]


IRIS_POINTS = [
    landmark_rows(*(f"{side} eye {part}" for part in ("left", "right", "upper", "under"))) for side in ("left", "right")
]
JAW, CHEEKS = landmark_rows("chin", "left jaw", "right jaw"), landmark_rows("left cheek", "right cheek")


@dataclass(frozen=True)
class Closeness:
    """Five figures of a clip."""

    sharpness: float  # gradient energy as a share of the truth's
    features: float  # distance of unit-length features of the model's keypoint extractor, summed over its stages
    gaze: float  # pixels of the pictures between what is dark within the true eyes and what is dark there in truth
    jaw: float  # root of the mean squared error around the true chin and jaw, of values in 0..1
    cheeks: float  # the same around the true cheeks


@dataclass(frozen=True)
class Share:
    """A figure of the model as a share of the reference repeated's, with the standard error over people."""

    name: str
    share: float
    error: float  # infinite for a single person


def closeness(pictures: Pictures, truth: Truth, model: PersonaLive) -> Closeness:
    """The figures of pictures [F, S, S, 3] against the truth of the same frames.

    No network finds landmarks for them: the one that `evaluate` has hardly sees where eyes look.
    """
    shown, true, points = unit(pictures), unit(truth.pictures), truth.landmarks.double()
    return Closeness(
        gradient_energy(shown) / gradient_energy(true),
        feature_error(model, shown[::EVERY].float(), true[::EVERY].float()),
        gaze_error(shown, true, points),
        error_around(shown, true, points[:, JAW]),
        error_around(shown, true, points[:, CHEEKS]),
    )


def gradient_energy(pictures: Tensor) -> float:
    """Mean squared difference of neighbouring pixels of [F, 3, S, S]."""
    return float(pictures.diff(dim=-1).square().mean() + pictures.diff(dim=-2).square().mean())


@torch.no_grad()
def feature_error(model: PersonaLive, shown: Tensor, true: Tensor) -> float:
    """Distance of the extractor's features of pictures [F, 3, S, S] in 0..1 (arXiv 1801.03924, equation 1, w = 1)."""
    maps = []
    for pictures in (shown, true):
        reduced = pictures.shape[-1] > PICTURE_SIZE
        large = functional.interpolate(pictures, size=PICTURE_SIZE, mode="bilinear", antialias=reduced)
        maps.append(model.motion_extractor.detector.maps(large.to(model.device, model.dtype)))
    pairs = zip(*maps, strict=True)
    unit_length = ((functional.normalize(a.float(), dim=1), functional.normalize(b.float(), dim=1)) for a, b in pairs)
    return sum(float((a - b).square().sum(1).mean()) for a, b in unit_length)


def pixel_grid(side: int) -> Tensor:
    """The places [S, S, 2] of the pixels of a picture, x first, which spans -1 to 1."""
    along = (torch.arange(side).double() + 0.5) / side * 2 - 1
    down, across = torch.meshgrid(along, along, indexing="ij")
    return torch.stack([across, down], -1)


def error_around(shown: Tensor, true: Tensor, points: Tensor) -> float:
    """Root of the mean squared error of pictures [F, 3, S, S] within DISC of the points [F, N, 2]."""
    grid = pixel_grid(shown.shape[-1])
    distances = ((grid[None] - point[:, None, None]).norm(dim=-1) for point in points.unbind(1))
    mask = torch.stack([distance < DISC for distance in distances]).any(0)[:, None]
    error = (mask * (shown - true)).square().sum() / (3 * mask.sum()).clamp(min=1)
    return float(error.sqrt())


def gaze_error(shown: Tensor, true: Tensor, points: Tensor) -> float:
    """Mean distance in pixels of the pupils in pictures [F, 3, S, S]; eyes that are closed in truth are left out.

    A pupil is the middle of what is dark within the eye's true opening; `points` [F, 31, 2] are the true landmarks.
    Lashes and shadows are dark too: where a pupil moves, this middle moves about half as far, in each style and size.
    """
    errors = []
    for eye in IRIS_POINTS:
        corners = points[:, eye]
        opened = (corners[:, 3] - corners[:, 2]).norm(dim=-1) > OPEN_EYE
        middles = [dark_middle(pictures[opened], corners[opened]) for pictures in (shown, true)]
        errors.append((middles[0] - middles[1]).norm(dim=-1))
    every = torch.cat(errors) * shown.shape[-1] / 2
    return float(every.mean()) if len(every) else float("nan")


def dark_middle(pictures: Tensor, corners: Tensor) -> Tensor:
    """The middle [F, 2] of what is dark in an eye with these `corners` [F, 4, 2]: left, right, upper, under."""
    left, right, upper, under = corners.unbind(1)
    middle, along = (left + right + upper + under) / 4, (right - left) / 2
    half = torch.stack([along.norm(dim=-1), (under - upper).norm(dim=-1) / 2], -1) * WITHIN
    across = along / along.norm(dim=-1, keepdim=True)
    down = torch.stack([-across[:, 1], across[:, 0]], -1)
    grid = pixel_grid(pictures.shape[-1])[None] - middle[:, None, None]
    axes = torch.stack([(grid * axis[:, None, None]).sum(-1) for axis in (across, down)], -1)
    inside = (axes / half[:, None, None]).square().sum(-1) < 1
    light = (pictures * torch.tensor(BRIGHTNESS_OF_RGB).to(pictures)[:, None, None]).sum(1)
    brightest = torch.where(inside, light, 0.0).amax((1, 2), keepdim=True)
    weight = (inside * (brightest - light)).clamp(min=0).square() + 1e-9 * inside
    return (weight[..., None] * axes).sum((1, 2)) / weight.sum((1, 2))[:, None].clamp(min=1e-12)


def mean_closeness(clips: Sequence[Closeness]) -> Closeness:
    return Closeness(*(float(np.nanmean([getattr(clip, field.name) for clip in clips])) for field in fields(Closeness)))


def shares(own: Sequence[Closeness], repeated: Sequence[Closeness]) -> tuple[Share, ...]:
    """Each error of the model as a share of the reference repeated's: of the means over people, jackknifed."""
    found = []
    for field in fields(Closeness)[1:]:
        ours, theirs = (np.array([getattr(clip, field.name) for clip in clips]) for clips in (own, repeated))
        known = np.isfinite(ours) & np.isfinite(theirs)
        share, error = jackknifed(ratio_of_means, ours[known], theirs[known])
        found.append(Share(field.name, share, error))
    return tuple(found)


def ratio_of_means(one: Numbers, other: Numbers) -> float:
    return float(one.mean() / other.mean())


def jackknifed(figure: Callable[[Numbers, Numbers], float], one: Numbers, other: Numbers) -> tuple[float, float]:
    """`figure` of paired numbers [P], and its standard error, by leaving out each pair in turn; one pair: infinite."""
    count = len(one)
    if count < 2:  # noqa: PLR2004 - nothing to compare
        return figure(one, other), float("inf")
    without = np.array([figure(np.delete(one, i), np.delete(other, i)) for i in range(count)])
    return figure(one, other), float(np.sqrt((count - 1) / count * np.square(without - without.mean()).sum()))
