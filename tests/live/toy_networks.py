"""Networks that cost nothing, with PersonaLive's interface: every output depends on every input."""

import numpy as np
import torch
from torch.nn import functional

from personalive_core.backends.personalive.reference import encode_reference
from personalive_core.live.performer import PersonaLivePerformer
from personalive_core.modules.inputs import MotionFeatures
from personalive_core.motion.types import HeadPose

SIZE = 64
_POINTS = torch.randn(21, 3, generator=torch.Generator().manual_seed(1)) * 0.3


class Toy:
    """In place of the loaded networks, for pictures of 64 pixels a side."""

    device, dtype, placement, run = torch.device("cpu"), torch.float32, None, None
    has_cue = False

    def embed_motion(self, motion, _size):
        return MotionFeatures(motion.embedding[None], motion.keypoints.mean(1)[None, :, :, None, None])

    def denoise(self, x, timesteps, reference, motion, features):
        told = (motion.face.mean((2, 3)) + motion.pose.sum((2, 3, 4)))[..., None, None, None]
        told = told + 0.5 * told.mean(1, keepdim=True)  # windows in flight see each other
        seen = sum(key.mean() + value.mean() for key, value in features) + reference.context[0].mean()
        return 0.2 * x + 0.3 * told + 0.1 * seen + timesteps[None, :, None, None, None] / 4000

    def encode_features(self, latent, reference):
        return self.project_tokens(latent, reference.clip)

    def project_tokens(self, latent, clip):
        tokens = latent.flatten(2).mT
        return ((tokens + clip.mean(), tokens * 2),)

    def project_image(self, clip):
        return (clip * 0.5,)

    def detect_keypoints(self, pictures):
        means = functional.adaptive_avg_pool2d(pictures, (2, 2)).flatten(1) - 0.5
        pose = HeadPose(400 * means[:, :3], 3 * means[:, 3:6], 1 + means[:, 6:7])
        return pose, _POINTS.expand(len(pictures), -1, -1) + means[:, 7:8, None]

    def embed_faces(self, faces):
        return 20 * functional.adaptive_avg_pool2d(faces[:, :2], (16, 16)).view(-1, 32, 16)

    def embed_image(self, pixels):
        return functional.adaptive_avg_pool2d(pixels, (1, 2)).flatten(1)[:, None]

    def encode(self, pixels):
        small = functional.avg_pool2d(pixels, 8)
        return torch.cat([small, small.mean(1, keepdim=True)], 1)

    def decode(self, latents):
        return functional.interpolate(latents[0, :, :3].sigmoid(), scale_factor=8)[None].clamp(0.05, 1)


def picture(i, height=SIZE, width=SIZE):
    """Noise, different for each `i`."""
    levels = np.random.default_rng(i).integers(0, 256, (4, 4, 3), np.uint8)
    whole = np.kron(levels, np.ones((-(-height // 4), -(-width // 4), 1), np.uint8))
    return np.ascontiguousarray(whole[:height, :width])


def toy_performer(**more):
    """A performer on these networks."""
    model, shown = Toy(), picture(1000)
    return PersonaLivePerformer(model, encode_reference(model, shown, SIZE), shown, **more)


class Broken(Toy):
    """The same, whose decoder fails."""

    def decode(self, _latents):
        raise RuntimeError("the device is gone")
