"""The driving's motion as keypoints of the source: transfer, growth, retargeting, stitching, multiplier, in order."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ...errors import InputError
from .hull import hull_volume
from .kalman import OBSERVATION_VARIANCE
from .kj_modes import check_kj, check_kj_mode, kj_placing
from .stitching import Retargeter, eyes_moved, lips_closed, lips_moved, stitched
from .transfer import TransferOptions, animal_placing, at_rest, picture_placing, video_placing, video_placing_by_picture
from .types import ImplicitMotion, Placing

MULTIPLIER_RANGE = 0.0, 2.0
EYES_SQUINTING, EYES_USUAL = 0.18, 0.39  # a source whose eyes are less open at first is taken to be as open as usual


@dataclass(frozen=True)
class AnimationOptions:
    """How the driving's motion becomes the source's keypoints.

    Raises InputError for a multiplier outside 0 to 2, an unknown KJ mode, or one beside a transfer of another kind.
    """

    transfer: TransferOptions = field(default_factory=TransferOptions)
    expression_friendly: bool = True  # motion grows with the source's face; False: pose-friendly
    multiplier: float = 1.0  # of the whole motion
    stitching: bool = True
    eyes: bool = False  # eyes as open as the driving's; relative motion is then discarded
    lips: bool = False  # likewise the lips
    close_lips: bool = False  # relative motion begins with the source's lips closed
    even_eyes: bool = False  # of a source video: as open as in its first frame
    variance: float = OBSERVATION_VARIANCE  # of the smoothing for source videos
    kj: str | None = None  # one of KJ_MODES in place of `transfer`, which then stays as it is by default

    def __post_init__(self) -> None:
        least, most = MULTIPLIER_RANGE
        if not least <= self.multiplier <= most:
            raise InputError(f"the multiplier is from {least:g} to {most:g}, got {self.multiplier:g}: try 1")
        if self.kj is not None:
            check_kj_mode(self.kj)
            if self.transfer != TransferOptions():
                raise InputError(
                    f"{self.kj} takes over all of the face in its own way: leave the region at all and motion relative"
                )

    @property
    def from_rest(self) -> bool:
        """True if eyes or lips that a perceptron sets are set on the source's own keypoints."""
        return self.transfer.relative if self.kj is None else self.kj != "off"

    @property
    def closes_lips(self) -> bool:
        """True if the source's lips are closed first."""
        return self.close_lips and (self.transfer.relative or self.kj is not None)

    @property
    def retargets(self) -> bool:
        """True if a perceptron sets eyes or lips."""
        return self.eyes or self.lips


def animate_picture(
    source: ImplicitMotion,
    driving: ImplicitMotion,
    first: ImplicitMotion,
    networks: Retargeter,
    options: AnimationOptions = AnimationOptions(),
) -> Tensor:
    """Keypoints [F, 21, 3] of the source picture [1] for the frames `driving` [F], any part of a clip.

    `first` [1] is the clip's first frame.
    """
    check_kj(options.kj, is_video=False)
    own, begin = source.keypoints, first.placing

    def moved_by(placing: Placing) -> Tensor:
        if options.kj is not None:
            return kj_placing(options.kj, source.placing, placing, begin).keypoints(source.canonical)
        return picture_placing(source.placing, placing, begin, options.transfer).keypoints(source.canonical)

    moved = moved_by(driving.placing)
    if options.expression_friendly and (options.kj is not None or options.transfer.relative):
        moved = grown_motion(moved, moved_by(begin), own)
    return _finished(moved, source, driving, networks, options)


def animate_by_picture(
    source: ImplicitMotion, driving: ImplicitMotion, networks: Retargeter, options: AnimationOptions
) -> Tensor:
    """Keypoints [1, 21, 3] of the source picture [1] for one driving picture [1]."""
    how, placing = options.transfer, driving.placing
    if options.kj is not None:
        return animate_picture(source, driving, driving, networks, replace(options, expression_friendly=False))
    first = at_rest(placing, how.region) if how.relative else placing
    moved = picture_placing(source.placing, placing, first, how).keypoints(source.canonical)
    return _finished(moved, source, driving, networks, options)


def animate_animal(
    source: ImplicitMotion,
    driving: ImplicitMotion,
    first: ImplicitMotion | None,
    networks: Retargeter,
    options: AnimationOptions = AnimationOptions(stitching=False),
) -> Tensor:
    """Keypoints [F, 21, 3] of an animal's picture [1] for the frames `driving` [F] of a person's clip.

    `first` [1] is the clip's first frame; None: the driving is one picture, and nothing grows.
    """
    moved = animal_placing(source.placing, driving.placing).keypoints(source.canonical)
    own = source.keypoints
    if options.expression_friendly and first is not None:
        moved = grown_motion(moved, animal_placing(source.placing, first.placing).keypoints(source.canonical), own)
    if options.stitching:
        moved = stitched(networks, own, moved)
    return own + options.multiplier * (moved - own)


def animate_video(
    source: ImplicitMotion,
    driving: ImplicitMotion,
    networks: Retargeter,
    options: AnimationOptions = AnimationOptions(),
) -> Tensor:
    """Keypoints [F, 21, 3] of the source video [F] for as many driving frames, all of a clip at once.

    A driving of more frames is cut to the source's, and the source to the driving's.
    """
    count = min(len(source), len(driving))
    source, driving = source[:count], driving[:count]
    begin, kj = driving[:1].placing, options.kj
    if kj is None:
        placed = video_placing(source.placing, driving.placing, begin, options.transfer, options.variance)
    else:
        placed = kj_placing(kj, source.placing, driving.placing, begin, variance=options.variance)
    moved = placed.keypoints(source.canonical)
    if kj is not None and options.expression_friendly:
        moved = grown_motion(moved, moved[:1], source.keypoints)
    return _finished(moved, source, driving, networks, options)


def animate_video_by_picture(
    source: ImplicitMotion, driving: ImplicitMotion, networks: Retargeter, options: AnimationOptions
) -> Tensor:
    """Keypoints [F, 21, 3] of the source video [F] for one driving picture [1].

    Raises InputError for a KJ mode: there is no such way.
    """
    check_kj(options.kj, is_video=True, by_picture=True)
    placed = video_placing_by_picture(source.placing, driving.placing, options.transfer)
    return _finished(placed.keypoints(source.canonical), source, driving, networks, options)


def grown_motion(moved: Tensor, rest: Tensor, source: Tensor) -> Tensor:
    """Motion since `rest` [1, 21, 3] as large as the source's face is beside it: source + h (moved - rest).

    h is the root of the ratio of the hulls' volumes; 1 where the driving's keypoints at rest lie in a plane.
    """
    volume = hull_volume(rest[0].cpu().numpy())
    growth = math.sqrt(hull_volume(source[0].cpu().numpy()) / volume) if volume else 1.0
    return source + growth * (moved - rest)


def first_openness(source: ImplicitMotion) -> Tensor:
    """How open the eyes of a source video are to stay: the mean of its first frame's ratios, [1, 1]."""
    mean = source.eyes[:1].mean(1, keepdim=True)
    return torch.where(mean < EYES_SQUINTING, EYES_USUAL, mean)


def _finished(
    moved: Tensor, source: ImplicitMotion, driving: ImplicitMotion, networks: Retargeter, options: AnimationOptions
) -> Tensor:
    """Retargeting or lips, stitching, multiplier: of keypoints [F, 21, 3] that the driving's motion has moved."""
    own, after = source.keypoints, torch.zeros(1)
    if options.retargets:
        moved = own.expand_as(moved) if options.from_rest else moved
        if options.eyes:
            moved = moved + eyes_moved(networks, own, source.eyes, driving.eyes[:, :1])
        if options.lips:
            moved = moved + lips_moved(networks, own, source.lips, driving.lips)
    else:
        if options.closes_lips:
            after = after + lips_closed(networks, own, source.lips)
        if options.even_eyes:
            after = after + eyes_moved(networks, own, source.eyes, first_openness(source))
    if options.stitching:
        moved = stitched(networks, own, moved)
    if options.stitching and options.kj is not None:  # once more, as that pack does
        moved, after = stitched(networks, own, moved + after), torch.zeros(1)
    return own + options.multiplier * (moved + after - own)
