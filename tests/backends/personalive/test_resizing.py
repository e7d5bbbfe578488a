"""Resizes before the networks against numpy's, on noise: smooth pictures do not show antialiasing."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch

from personalive_core.backends.personalive.motion import extract_motion
from personalive_core.backends.personalive.reference import CLIP_MEAN, CLIP_STD, encode_reference
from personalive_core.modules.pose_guider import DRAWN
from personalive_core.motion.types import HeadPose


@dataclass(frozen=True)
class Stub:
    """Networks that keep what they are given, under the method's name, and see a face in the middle half."""

    seen: dict = field(default_factory=dict)

    def detect_keypoints(self, pictures):
        self.seen["detect_keypoints"] = pictures
        canonical = torch.zeros(len(pictures), 21, 3)
        canonical[:, DRAWN[0], 1] = -0.4  # the box's side follows from the topmost point
        pose = HeadPose(*(torch.zeros(len(pictures), count) for count in (3, 3)), torch.ones(len(pictures), 1))
        return pose, canonical

    def embed_faces(self, faces):
        self.seen["embed_faces"] = faces
        return torch.zeros(len(faces), 32, 16)

    def encode(self, pixels):
        self.seen["encode"] = pixels
        return torch.zeros(1, 4, 8, 8)

    def embed_image(self, pixels):
        self.seen["embed_image"] = pixels
        return torch.zeros(1, 1, 768)

    def project_image(self, _clip):
        return ()

    def project_tokens(self, _latent, _clip):
        return ()


def noise(*shape):
    return np.random.default_rng(5).integers(0, 256, shape, np.uint8)


def bilinear(picture, size):
    """[C, H, W] -> [C, size, size] from the two nearest pixels along each axis, whatever the size: not antialiased."""
    for axis in (1, 2):
        count = picture.shape[axis]
        place = ((np.arange(size) + 0.5) * count / size - 0.5).clip(0, count - 1)
        low = np.floor(place).astype(int)
        high = np.minimum(low + 1, count - 1)
        share = (place - low).reshape([-1 if a == axis else 1 for a in range(3)])
        picture = picture.take(low, axis) * (1 - share) + picture.take(high, axis) * share
    return picture


def lanczos(x):
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


def bicubic(x):
    """The cubic kernel of a = -1/2."""
    x = np.abs(x)
    return np.where(x < 1, 1.5 * x**3 - 2.5 * x**2 + 1, np.where(x < 2, -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2, 0))


def antialiased(picture, size, kernel):
    """[S, S, C] in 0..255 -> [size, size, C]: the kernel as wide as the pixels of the smaller of the two pictures."""
    count = picture.shape[0]
    centres = (np.arange(size) + 0.5) * count / size
    weights = kernel((np.arange(count) + 0.5 - centres[:, None]) / max(count / size, 1))
    weights /= weights.sum(1, keepdims=True)
    for axis in (1, 0):  # whole levels in between
        picture = np.moveaxis(np.tensordot(weights, picture.astype(float), (1, axis)), 0, axis).round().clip(0, 255)
    return picture


def levels(pixels):
    """[1, 3, S, S] in [-1, 1] -> [S, S, 3] in 0..255."""
    return ((pixels[0].double() + 1) * 127.5).permute(1, 2, 0).numpy()


@pytest.mark.parametrize("size", [512, 448, 192])
def test_driving_is_resized_bilinearly_without_antialiasing(size):
    """As published; both for the motion extractor and for the face crop."""
    model = Stub()
    pictures = torch.from_numpy(noise(2, 3, size, size)).float() / 127.5 - 1
    motion = extract_motion(model, pictures)
    left, top, right, bottom = (int(edge) for edge in motion.box[0])
    assert right - left != 224
    for frame, picture in enumerate(pictures.double().numpy()):
        small, face = model.seen["detect_keypoints"][frame], model.seen["embed_faces"][frame]
        np.testing.assert_allclose(small, bilinear(picture, 256) / 2 + 0.5, atol=2e-5)
        np.testing.assert_allclose(face, bilinear(picture[:, top:bottom, left:right], 224), atol=5e-5)


@pytest.mark.parametrize(("side", "size"), [(600, 256), (200, 320)])
def test_reference_is_resized_by_lanczos_and_bicubic(side, size):
    """Both antialiased: Lanczos for the VAE and for the motion extractor, bicubic for CLIP."""
    model, portrait = Stub(), noise(side, side, 3)
    box = encode_reference(model, portrait, size).motion.box[0]
    picture = levels(model.seen["encode"])
    assert np.abs(picture - antialiased(portrait, size, lanczos)).max() < 1.01
    small = levels(model.seen["detect_keypoints"] * 2 - 1)
    assert np.abs(small - antialiased(portrait, 256, lanczos)).max() < 1.01
    clip = model.seen["embed_image"][0].permute(1, 2, 0).double().numpy() * CLIP_STD + CLIP_MEAN
    assert np.abs(clip * 255 - antialiased(portrait, 224, bicubic)).max() < 1.01
    left, top, right, bottom = (int(edge) for edge in box)
    face = bilinear(picture.transpose(2, 0, 1)[:, top:bottom, left:right], 224)
    np.testing.assert_allclose(model.seen["embed_faces"][0], face / 127.5 - 1, atol=5e-5)
