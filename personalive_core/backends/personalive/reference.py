"""Encodes a reference portrait into everything that a stream needs from it."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...errors import FaceError, InputError
from ...media.tensors import to_signed
from ...modules.keypoints import PICTURE_SIZE, pose_keypoints
from ...motion.types import HeadPose, HybridMotion
from .model import PersonaLive
from .motion import crop_faces, cue_for, face_boxes, is_face
from .types import LATENT_PIXELS, Reference

CLIP_SIZE = 224
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # OpenAI's CLIP
SIZE_STEP = LATENT_PIXELS * 8  # the UNet halves the latent three times


def check_size(size: int) -> int:
    """Returns `size`. Raises InputError unless it is a positive multiple of `SIZE_STEP` (64 pixels)."""
    if size < SIZE_STEP or size % SIZE_STEP:
        raise InputError(f"the picture size must be a multiple of {SIZE_STEP} such as 512 or 256, got {size}")
    return size


def clip_pixels(picture: Image.Image) -> Tensor:
    """A square picture -> CLIP's input [1, 3, 224, 224]: resized (bicubic) and normalised."""
    pixels = np.asarray(picture.resize((CLIP_SIZE, CLIP_SIZE), Image.Resampling.BICUBIC), dtype=np.float32) / 255
    pixels = (pixels - np.array(CLIP_MEAN, dtype=np.float32)) / np.array(CLIP_STD, dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@torch.inference_mode()
def encode_reference(model: PersonaLive, portrait: np.ndarray, size: int = 512) -> Reference:
    """A square portrait [S, S, 3] uint8 RGB -> `Reference` for pictures of `size` pixels a side.

    Raises InputError for another shape or a wrong `size`, FaceError if the keypoints span no face box.
    """
    if portrait.shape[2:] != (3,) or portrait.shape[0] != portrait.shape[1]:
        raise InputError(f"expected a square RGB portrait [S, S, 3], got {portrait.shape}: crop it first")
    source = Image.fromarray(portrait)
    lanczos = Image.Resampling.LANCZOS
    picture = to_signed(np.asarray(source.resize((check_size(size), size), lanczos))[None])
    small = to_signed(np.asarray(source.resize((PICTURE_SIZE, PICTURE_SIZE), lanczos))[None])
    pose, canonical = model.detect_keypoints(small / 2 + 0.5)
    pose, canonical = HeadPose(pose.angles.cpu(), pose.translation.cpu(), pose.scale.cpu()), canonical.cpu()
    keypoints = pose_keypoints(canonical, pose)
    box = face_boxes(keypoints, size)
    if not bool(is_face(box, size).all()):
        raise FaceError("no face in the reference portrait: use a picture with one clear face, or give its box")
    embedding = model.embed_faces(crop_faces(picture, box)).cpu()
    latent, clip = model.encode(picture), model.embed_image(clip_pixels(source))
    valid = torch.ones(1, dtype=torch.bool)
    cue = cue_for(model, small, keypoints, valid)
    return Reference(
        latent=latent,
        clip=clip,
        context=model.project_image(clip),
        features=model.project_tokens(latent, clip),
        motion=HybridMotion(embedding, keypoints, pose, box.float(), valid, cue),
        canonical=canonical[0],
    )
