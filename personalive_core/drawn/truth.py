"""Drawn people with known looks and motion: their pictures and the ground truth (pose, expression, landmarks)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..motion.types import HeadPose
from .canvas import HEAD_CENTRE, LENS, FaceMotion, Points, framed, view_of
from .fine import draw_fine_person, draw_fine_portrait
from .hands import Hand, hand_path, hidden_points
from .head import EYE_HEIGHT, MOUTH_HEIGHT, Identity, brow_of, eye_of, head_of, mouth_of, nose_of
from .motion import journey, random_motion
from .people import random_identity
from .person import OVERSAMPLING, draw_person, draw_portrait
from .styles import REGIONS, LabelCanvas, LineCanvas, paper, unlabelled

TOKENS, TOKEN_DIM = 32, 16
CODE_SCALE = 10.0  # scales embeddings so that a new expression is about 17 away, the published keyframe distance
CODE_SEED = 20251211

Split = Literal["train", "test"]
Style = Literal["photo", "line", "fine"]
SPLITS: tuple[Split, ...] = ("train", "test")
# part of the seed: independent, also of the same index
PERSON_SEED, MOTION_SEED, FILM_SEED, HAND_SEED = 1, 2, 5, 6

EXPRESSION = (
    "mouth", "smile", "pucker", "jaw", "blink left", "blink right", "brow left", "brow right", "gaze right",
    "gaze down", "cheek",
)  # fmt: skip

# "left" is the picture's left. modules/pose_guider.py draws the indices 1, 2, 3, 4, 12, 15, 20.
KEYPOINT_NAMES = (
    "crown", "forehead", "left eye", "right eye", "left cheek", "nose bridge", "left temple", "right temple",
    "left ear", "right ear", "left jaw", "right jaw", "right cheek", "left brow", "right brow", "nose tip",
    "left inner eye corner", "right inner eye corner", "mouth", "nose base", "chin",
)  # fmt: skip

LANDMARKS = (
    *(f"{side} brow {place}" for side in ("left", "right") for place in ("inner", "middle", "outer")),
    *(f"{side} eye {place}" for side in ("left", "right") for place in ("left", "right", "upper", "under", "pupil")),
    "nose bridge", "nose tip", "left nose wing", "right nose wing",
    "left mouth corner", "right mouth corner", "upper lip over", "upper lip under", "lower lip over", "lower lip under",
    "chin", "left jaw", "right jaw", "left cheek", "right cheek",
)  # fmt: skip


def person(split: Split, index: int) -> Identity:
    """The `index`-th person of a split; no two splits share one."""
    return random_identity(split_generator(split, PERSON_SEED, index))


def clip_motion(split: Split, index: int, frames: int) -> tuple[FaceMotion, ...]:
    """The first `frames` frames of the `index`-th motion of a split, at 25 frames a second."""
    return random_motion(split_generator(split, MOTION_SEED, index), frames)


def journey_motion(split: Split, index: int, frames: int) -> tuple[FaceMotion, ...]:
    """The first `frames` frames of the `index`-th longer film of a split: with turns, leaving and coming back."""
    return journey(split_generator(split, FILM_SEED, index), frames)


def clip_hands(split: Split, index: int, frames: int) -> tuple[tuple[Hand, ...], ...]:
    """The hands that cross before the face in the first `frames` frames of the `index`-th clip, at 25 a second."""
    return hand_path(split_generator(split, HAND_SEED, index), frames)


def split_generator(split: Split, purpose: int, index: int) -> np.random.Generator:
    return np.random.default_rng((SPLITS.index(split), purpose, index))


def draw(who: Identity, motions: Sequence[FaceMotion], size: int, style: Style = "photo") -> NDArray[np.uint8]:
    """Pictures [F, size, size, 3] of a person, one for each motion."""
    one = {"photo": draw_portrait, "line": draw_lines, "fine": draw_fine_portrait}[style]
    return np.stack([one(who, motion, size) for motion in motions])


def draw_crossed(
    who: Identity, motions: Sequence[FaceMotion], hands: Sequence[tuple[Hand, ...]], size: int
) -> NDArray[np.uint8]:
    """Pictures [F, size, size, 3] of a person in the style fine, with each frame's hands before the face."""
    pairs = zip(motions, hands, strict=True)
    return np.stack([draw_fine_portrait(who, motion, size, crossing) for motion, crossing in pairs])


def draw_lines(who: Identity, motion: FaceMotion, size: int) -> NDArray[np.uint8]:
    """The portrait as ink on paper: [size, size, 3]."""
    import cv2

    canvas = LineCanvas(paper(size * OVERSAMPLING), view_of(motion))
    draw_person(canvas, who, motion)
    return np.asarray(cv2.resize(canvas.image, (size, size), interpolation=cv2.INTER_AREA))


def regions(who: Identity, motions: Sequence[FaceMotion], size: int, style: Style = "photo") -> NDArray[np.bool_]:
    """Masks [F, 4, size, size] of skin, hair, clothes and background, in the order of REGIONS.

    A hat of the `style` fine counts as clothes.
    In no mask: eyes, mouth, brows, beard, glasses, and pixels on an edge.
    """
    masks = []
    for motion in motions:
        canvas = LabelCanvas(unlabelled(size * OVERSAMPLING), view_of(motion))
        (draw_fine_person if style == "fine" else draw_person)(canvas, who, motion)
        cells = canvas.image[..., 0].reshape(size, OVERSAMPLING, size, OVERSAMPLING)
        masks.append([(cells == number).all((1, 3)) for number in range(1, len(REGIONS) + 1)])
    return np.array(masks)


def canonical_keypoints(who: Identity) -> Tensor:
    """Canonical keypoints [21, 3] in head units: the points of KEYPOINT_NAMES on a calm, frontal head."""
    head = head_of(who, FaceMotion())
    nose, eye = nose_of(head), 0.162 * who.eye_gap
    corner = float(eye_of(who, FaceMotion(), 1).upper[0, 0])
    flat = np.array([
        (0.0, -0.5), (0.0, -0.3), (-eye, EYE_HEIGHT), (eye, EYE_HEIGHT), (-0.2, 0.2), (0.0, EYE_HEIGHT),
        (-0.33, -0.15), (0.33, -0.15), (-0.36, 0.02), (0.36, 0.02), (-0.28, 0.29), (0.28, 0.29), (0.2, 0.2),
        (-eye, -0.145), (eye, -0.145), (0.0, 0.15), (-corner, EYE_HEIGHT), (corner, EYE_HEIGHT), (0.0, MOUTH_HEIGHT),
        (0.0, 0.19), (0.0, 0.49),
    ])  # fmt: skip
    points = head.on(flat)
    points[KEYPOINT_NAMES.index("nose tip")] = nose.tip
    return torch.tensor(points, dtype=torch.float32)


def head_pose(motions: Sequence[FaceMotion]) -> HeadPose:
    """Head pose of F frames: `pose_keypoints` with it puts `canonical_keypoints` where they are drawn."""
    angles = [(motion.pitch, motion.yaw, motion.roll) for motion in motions]
    shift = [(*framed(HEAD_CENTRE + np.array(motion.shift)), 0.0) for motion in motions]
    scale = torch.tensor([[LENS * motion.scale] for motion in motions])
    return HeadPose(torch.tensor(angles).float(), torch.tensor(np.array(shift)).float(), scale.float())


def expression(motions: Sequence[FaceMotion]) -> Tensor:
    """The numbers named in EXPRESSION: [F, 11], each within -1 .. 1."""
    return torch.tensor([(m.mouth, m.smile, m.pucker, m.jaw, *m.blink, *m.brow, *m.gaze, m.cheek) for m in motions])


def landmarks(who: Identity, motions: Sequence[FaceMotion]) -> Tensor:
    """Positions of LANDMARKS in the picture, occluded ones too: [F, 31, 2], x first; the picture spans -1 .. 1."""
    placed = [framed(view_of(motion).place(landmark_points(who, motion))) for motion in motions]
    return torch.tensor(np.array(placed), dtype=torch.float32)


def hidden_landmarks(who: Identity, motions: Sequence[FaceMotion], hands: Sequence[tuple[Hand, ...]]) -> Tensor:
    """Which of LANDMARKS lie behind each frame's hands: [F, 31]."""
    places = landmarks(who, motions).numpy().astype(float)
    rows = [hidden_points(*row) for row in zip(hands, motions, places, strict=True)]
    return torch.from_numpy(np.array(rows))


def landmark_points(who: Identity, motion: FaceMotion) -> Points:
    """The points of LANDMARKS on a head with an expression: [31, 3] in head units."""
    head = head_of(who, motion)
    nose, mouth = nose_of(head), mouth_of(who, motion)
    flat = [spine[[0, len(spine) // 2, -1]] for spine in (brow_of(who, motion, side) for side in (-1, 1))]
    for eye in (eye_of(who, motion, side) for side in (-1, 1)):
        middle = len(eye.upper) // 2
        flat.append(np.array([eye.upper[0], eye.upper[-1], eye.upper[middle], eye.under[middle], eye.look]))
    middle = len(mouth.top) // 2
    lines = (mouth.over, mouth.top, mouth.bottom, mouth.beneath)
    lips = [mouth.top[0], mouth.top[-1], *(line[middle] for line in lines)]
    noses = np.stack([nose.bridge[0], nose.tip, nose.wings[0][-1], nose.wings[1][-1]])
    sides = np.radians([-64.0, 64.0])
    chin = head.around(np.zeros(1), head.rings[-4:-3, 0], 0.0)
    jaws = [head.around(sides, np.full(2, height), 0.0) for height in (0.3, 0.2)]
    return np.vstack([head.on(np.vstack(flat)), noses, head.on(np.array(lips), mouth.lift), chin, *jaws])


def expression_code(numbers: Tensor, positions: Tensor) -> Tensor:
    """Expression numbers [F, E <= 16] as a facial embedding [F, 32, 16]: token l holds number l mod E.

    Each number scales its own direction; the directions are orthonormal. `positions` [32, 16] is added: the position
    code that every facial embedding contains. The result is a first training target for the facial encoder on drawn
    people, whose numbers are known; stage 1 may move away from it.
    """
    count = numbers.shape[1]
    noise = torch.randn(TOKEN_DIM, TOKEN_DIM, generator=torch.Generator("cpu").manual_seed(CODE_SEED))
    directions = torch.linalg.qr(noise).Q[:count]
    which = torch.arange(TOKENS) % count
    code: Tensor = numbers[:, which, None] * directions[which] * CODE_SCALE / (TOKENS / count) ** 0.5
    return code + positions
