"""Hybrid motion: extracted from driving pictures, retargeted to a reference, interpolated, saved."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import InputError
from ...modules.face_encoder import FACE_SIZE
from ...modules.keypoints import PICTURE_SIZE, pose_keypoints
from ...modules.pose_guider import canvas_points
from ...motion.gaps import blend, lerp
from ...motion.types import FittedMotion, HeadPose, HybridMotion, concat
from .model import PersonaLive
from .types import LEAD_IN, Reference

BOX_SCALE = 1.7  # box side over twice the height of the drawn keypoints' top above their centre
BOX_BEFORE, BOX_AFTER = 0.95, 1.05  # share of half the side before (left, above) and after the centre
SMALLEST_FACE = 1 / 32  # of the picture's side; below it keypoints span no face


def face_boxes(keypoints: Tensor, size: int) -> Tensor:
    """Posed keypoints [F, 21, 3] -> face boxes [F, 4] (left, top, right, bottom), whole pixels of a `size` picture."""
    points = canvas_points(keypoints, size).float()
    centre, top = points.mean(1), points[..., 1].amin(1)
    half = ((centre[:, 1] - top) * BOX_SCALE)[:, None]
    corners = torch.cat([centre - half * BOX_BEFORE, centre + half * BOX_AFTER], 1)
    return corners.clamp(0, size - 1).long()


def is_face(boxes: Tensor, size: int) -> Tensor:
    """Whether each box [F, 4] is large enough to hold a face: [F] bool."""
    return (boxes[:, 2:] - boxes[:, :2] >= SMALLEST_FACE * size).all(1)


def crop_faces(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Face crops [F, 3, 224, 224] of `pictures` [F, 3, S, S]; a box that holds no face gives the whole picture."""
    size = pictures.shape[-1]
    whole = torch.tensor([0, 0, size, size]).expand_as(boxes)
    boxes = torch.where(is_face(boxes, size)[:, None], boxes, whole)
    crops = [
        functional.interpolate(picture[None, :, top:bottom, left:right], size=FACE_SIZE, mode="bilinear")
        for picture, (left, top, right, bottom) in zip(pictures, boxes.tolist(), strict=True)
    ]
    return torch.cat(crops)


def extract_motion(model: PersonaLive, pictures: Tensor) -> HybridMotion:
    """Driving pictures [F, 3, S, S] in [-1, 1] -> their own motion, not yet a reference's; boxes in those pictures."""
    return extract_shape(model, pictures)[0]


@torch.inference_mode()
def extract_shape(model: PersonaLive, pictures: Tensor) -> tuple[HybridMotion, Tensor]:
    """As `extract_motion`, with the canonical keypoints [F, 21, 3] behind the posed ones."""
    small = functional.interpolate(pictures, size=PICTURE_SIZE, mode="bilinear") / 2 + 0.5
    pose, canonical = model.detect_keypoints(small)
    keypoints = pose_keypoints(canonical, pose)
    boxes = face_boxes(keypoints, pictures.shape[-1])
    embedding = model.embed_faces(crop_faces(pictures, boxes))
    motion = HybridMotion(embedding, keypoints, pose, boxes.float(), is_face(boxes, pictures.shape[-1]))
    return motion, canonical


@dataclass(frozen=True)
class Strengths:
    """How much of the driving motion the reference takes over; the defaults are the published ones."""

    rotation: float = 1.0
    translation: float = 0.5  # of the change since the first driving frame
    scale: float = 0.0  # likewise: 0 keeps the reference's
    expression: float = 1.0


def retarget(
    motion: HybridMotion, reference: Reference, first: HeadPose, strengths: Strengths = Strengths()
) -> HybridMotion:
    """`motion` on the reference's canonical keypoints; `first` [1], the first driving pose, is where shifts start.

    Any strength of 0 leaves the reference as it is; rotation and expression of 1 take the driving's as it is.
    """
    own, pose = reference.motion.pose, motion.pose
    pose = HeadPose(
        lerp(own.angles, pose.angles, strengths.rotation),
        own.translation + strengths.translation * (pose.translation - first.translation),
        own.scale + strengths.scale * (pose.scale - first.scale),
    )
    embedding = lerp(reference.motion.embedding, motion.embedding, strengths.expression)
    return HybridMotion(embedding, pose_keypoints(reference.canonical, pose), pose, motion.box, motion.valid)


def lead_in(reference: Reference, first: HybridMotion, frames: int = LEAD_IN) -> HybridMotion:
    """Motion-interpolated initialisation (section 3.4): `frames` from the reference towards the retargeted `first` [1].

    Pose parameters and embedding are interpolated, keypoints posed anew; `first` itself is not among them.
    """
    return lead_path(reference.motion, reference.canonical, first, frames)


def lead_path(own: HybridMotion, canonical: Tensor, first: HybridMotion, frames: int) -> HybridMotion:
    """As `lead_in`, of a reference's `own` motion [1] and `canonical` keypoints [21, 3] alone."""
    steps = torch.linspace(0, 1, frames + 1)[:-1]
    path = blend(own, first, steps, valid=False)
    return HybridMotion(path.embedding, pose_keypoints(canonical, path.pose), path.pose, path.box, path.valid)


def fit(
    motion: HybridMotion, reference: Reference, lead: int = LEAD_IN, strengths: Strengths = Strengths()
) -> FittedMotion:
    """A whole clip's `motion` retargeted to `reference`, behind `lead` lead-in frames; more of them start more gently.

    Raises InputError for motion of no frames.
    """
    if not len(motion):
        raise InputError("the motion has no frames: extract it from a driving with at least one, or cut less away")
    fitted = retarget(motion, reference, motion.pose[:1], strengths)
    return FittedMotion(concat([lead_in(reference, fitted[:1], lead), fitted]), lead)
