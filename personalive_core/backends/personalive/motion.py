"""Hybrid motion: extracted from driving pictures, retargeted to a reference, and led in from its own pose (MII)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from ...device import copy_down
from ...errors import InputError
from ...modules.face_encoder import FACE_SIZE
from ...modules.keypoints import PICTURE_SIZE, pose_keypoints
from ...modules.pose_guider import canvas_points
from ...modules.region_cue import cut_regions
from ...motion.gaps import blend, lerp, mean_of
from ...motion.types import FittedMotion, HeadPose, HybridMotion, concat_motion, cue_or_hidden
from .model import PersonaLive
from .types import LEAD_IN, Reference

BOX_SCALE = 1.7  # half the box side, in heights of the topmost drawn keypoint above the centre of all drawn ones
BOX_BEFORE, BOX_AFTER = 0.95, 1.05  # box edges before (left, above) and after the centre, in halves of the side
SMALLEST_FACE = 1 / 32  # part of the picture's side; smaller boxes hold no face


def face_boxes(keypoints: Tensor, size: int) -> Tensor:
    """Posed keypoints [F, 21, 3] -> face boxes [F, 4]: left, top, right, bottom in whole pixels of a `size` picture."""
    points = canvas_points(keypoints, size).float()
    centre, top = points.mean(1), points[..., 1].amin(1)
    half = ((centre[:, 1] - top) * BOX_SCALE)[:, None]
    corners = torch.cat([centre - half * BOX_BEFORE, centre + half * BOX_AFTER], 1)
    return corners.clamp(0, size - 1).long()


def is_face(boxes: Tensor, size: int) -> Tensor:
    """True for each box [F, 4] that is large enough to hold a face: [F] bool."""
    return (boxes[:, 2:] - boxes[:, :2] >= SMALLEST_FACE * size).all(1)


def crop_faces(pictures: Tensor, boxes: Tensor) -> Tensor:
    """Face crops [F, 3, 224, 224] of `pictures` [F, 3, S, S]; if a box holds no face, the whole picture is used."""
    size = pictures.shape[-1]
    whole = torch.tensor([0, 0, size, size]).expand_as(boxes)
    boxes = torch.where(is_face(boxes, size)[:, None], boxes, whole)
    crops = [
        functional.interpolate(picture[None, :, top:bottom, left:right], size=FACE_SIZE, mode="bilinear")
        for picture, (left, top, right, bottom) in zip(pictures, boxes.tolist(), strict=True)
    ]
    return torch.cat(crops)


def gather_faces(pictures: Tensor, boxes: Tensor) -> Tensor:
    """`crop_faces` that never asks the device for a box: each pixel is gathered, in shapes that do not change."""
    size = pictures.shape[-1]
    whole = torch.zeros_like(boxes)
    whole[:, 2:] = size
    boxes = torch.where(is_face(boxes, size)[:, None], boxes, whole)
    (x, right_x, right), (y, below_y, below) = (_neighbours(boxes[:, axis], boxes[:, axis + 2]) for axis in (0, 1))

    def pixels(rows: Tensor, columns: Tensor) -> Tensor:
        places = (rows[:, :, None] * size + columns[:, None]).flatten(1)
        found = pictures.flatten(2).gather(2, places[:, None].expand(-1, 3, -1))
        return found.view(-1, 3, FACE_SIZE, FACE_SIZE)

    right, below = right[:, None, None], below[:, None, :, None]
    upper = (1 - right) * pixels(y, x) + right * pixels(y, right_x)
    lower = (1 - right) * pixels(below_y, x) + right * pixels(below_y, right_x)
    return (1 - below) * upper + below * lower


def _neighbours(start: Tensor, end: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each of a face crop's pixels along one axis, the two nearest pixels of the picture and the second's weight.

    `start` and `end` [F] are the box's edges. As torch's bilinear `interpolate` without aligned corners; [F, 224] each.
    """
    count = (end - start)[:, None]
    steps = torch.arange(FACE_SIZE, device=start.device, dtype=torch.float64) + 0.5
    # rounded twice, as torch's own kernel does: the scale, and the place (a fused multiply-add)
    place = ((count / FACE_SIZE).double() * steps - 0.5).float().clamp(min=0)
    low = place.long()
    high = torch.minimum(low + 1, count - 1)
    return low + start[:, None], high + start[:, None], place - low


def extract_motion(model: PersonaLive, pictures: Tensor) -> HybridMotion:
    """Driving pictures [F, 3, S, S] in [-1, 1] -> motion, not yet retargeted; boxes in pixels of these pictures."""
    return extract_shape(model, pictures)[0]


def extract_shape(model: PersonaLive, pictures: Tensor) -> tuple[HybridMotion, Tensor]:
    """Like `extract_motion`, but also returns the canonical keypoints [F, 21, 3], without the pose."""
    motion, canonical = _look(model, pictures)
    return _copied(motion)(), canonical.cpu()


def extract_later(model: PersonaLive, pictures: Tensor) -> Callable[[], HybridMotion]:
    """Begins `extract_motion`: the result waits for the device only when it is called."""
    return _copied(_look(model, pictures)[0])


@torch.inference_mode()
def _look(model: PersonaLive, pictures: Tensor) -> tuple[HybridMotion, Tensor]:
    """Motion and canonical keypoints, on the device."""
    size, crop = pictures.shape[-1], crop_faces if pictures.device.type == "cpu" else gather_faces
    small = functional.interpolate(pictures, size=PICTURE_SIZE, mode="bilinear") / 2 + 0.5
    pose, canonical = model.detect_keypoints(small)
    keypoints = pose_keypoints(canonical, pose)
    boxes = face_boxes(keypoints, size)
    embedding = model.embed_faces(crop(pictures, boxes.to(pictures.device)))
    valid = is_face(boxes, size)
    cue = cue_for(model, small * 2 - 1, keypoints, valid)
    return HybridMotion(embedding, keypoints, pose, boxes.float(), valid, cue), canonical


def cue_for(model: PersonaLive, pictures: Tensor, keypoints: Tensor, valid: Tensor) -> Tensor | None:
    """What `cut_regions` gives, for a model with a region cue; None for others, and for doubles that know of none."""
    return cut_regions(pictures, keypoints, valid) if getattr(model, "has_cue", False) else None


def _copied(motion: HybridMotion) -> Callable[[], HybridMotion]:
    """Begins to copy a motion to the CPU; gives it once it is there."""
    tensors = motion.tensors()
    copies = copy_down(*tensors.values())
    return lambda: HybridMotion.of(dict(zip(tensors, copies.read(), strict=True)))


@dataclass(frozen=True)
class Strengths:
    """How much of the driving motion the reference takes over; the defaults are the published ones."""

    rotation: float = 1.0
    translation: float = 0.5  # of the change since the first driving frame
    scale: float = 0.0  # likewise; 0 keeps the reference's scale
    expression: float = 1.0


def retarget(
    motion: HybridMotion, reference: Reference, first: HeadPose, strengths: Strengths = Strengths()
) -> HybridMotion:
    """Transfers `motion` to the reference: its canonical keypoints are posed by the driving motion.

    Translation and scale change the reference's own by the driving's change since `first` [1], its first pose. A
    strength of 0 keeps the reference's own value; rotation and expression of 1 take over the driving's value unchanged.

    A region cue goes with the reference's keypoints, and so where its own eyes, nose and mouth are: no place or shape
    of the driving's face is carried over. The expression's strength fades its pixels from the reference's own to the
    driving's, and above 1 adds nothing; rotation and scale move the regions, but turn no head inside them. A reference
    without a cue, whose model has none, drops it; motion without one hides it.
    """
    own, pose = reference.motion.pose, motion.pose
    pose = HeadPose(
        lerp(own.angles, pose.angles, strengths.rotation),
        own.translation + strengths.translation * (pose.translation - first.translation),
        own.scale + strengths.scale * (pose.scale - first.scale),
    )
    embedding = lerp(reference.motion.embedding, motion.embedding, strengths.expression)
    cue = _retargeted_cue(motion, reference.motion.cue, strengths.expression)
    return HybridMotion(embedding, pose_keypoints(reference.canonical, pose), pose, motion.box, motion.valid, cue)


def _retargeted_cue(motion: HybridMotion, own: Tensor | None, strength: float) -> Tensor | None:
    """The cue [F, ...] of `motion`, at a strength below 1 faded from the reference's `own` [1, ...]."""
    if own is None:
        return None
    if strength <= 0:
        return own.repeat(len(motion), 1, 1, 1, 1)
    cue = cue_or_hidden(motion)
    return cue if strength >= 1 or motion.cue is None else mean_of(own, cue, strength)


def lead_in(reference: Reference, first: HybridMotion, frames: int = LEAD_IN) -> HybridMotion:
    """Motion-interpolated initialisation (section 3.4): `frames` frames from the reference to the first driving frame.

    `first` [1] is that frame's retargeted motion; it is not included. Pose parameters and embedding are interpolated;
    keypoints are posed from them.
    """
    return lead_path(reference.motion, reference.canonical, first, frames)


def lead_path(own: HybridMotion, canonical: Tensor, first: HybridMotion, frames: int) -> HybridMotion:
    """Like `lead_in`, but takes the reference's `own` motion [1] and `canonical` keypoints [21, 3]."""
    steps = torch.linspace(0, 1, frames + 1)[:-1]
    path = blend(own, first, steps, valid=False)
    return replace(path, keypoints=pose_keypoints(canonical, path.pose))


def fit(
    motion: HybridMotion, reference: Reference, lead: int = LEAD_IN, strengths: Strengths = Strengths()
) -> FittedMotion:
    """Retargets a whole clip's `motion` and puts `lead` lead-in frames before it; more frames give a gentler start.

    Raises InputError for motion without frames.
    """
    if not len(motion):
        raise InputError("the motion has no frames: extract it from a driving with at least one, or cut less away")
    fitted = retarget(motion, reference, motion.pose[:1], strengths)
    return FittedMotion(concat_motion([lead_in(reference, fitted[:1], lead), fitted]), lead)
