"""What a denoising pass sees besides the noise, the same with signals left out as in training, and their fusion."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from ...modules.fusion import Fusion, fused, fusion_weights
from ...modules.inputs import LayerFeatures, MotionFeatures, SeenFeatures
from .types import Reference, StreamHistory


class Denoiser(Protocol):
    """The interface of the networks that a stream needs; training and tests pass their own."""

    def denoise(
        self, x: Tensor, timesteps: Tensor, reference: Reference, motion: MotionFeatures, features: SeenFeatures
    ) -> Tensor:
        """Predicted noise [B, F, 4, h, w] in `x` [B, F, 4, h, w], float32, at `timesteps` [F]."""

    def encode_features(self, latent: Tensor, reference: Reference) -> LayerFeatures:
        """Keys and values of a clean `latent` [B, 4, h, w], as `Reference.features`."""

    def project_image(self, clip: Tensor) -> tuple[Tensor, ...]:
        """The context of an image embedding [B, 1, D], as `Reference.context`; only fusion asks for it."""


@dataclass(frozen=True, eq=False)
class StreamConditions:
    """What the frames in flight are drawn from."""

    reference: Reference
    features: SeenFeatures  # of the keyframe bank
    motion: MotionFeatures  # of the frames in flight
    history: StreamHistory | None = None  # frames before them

    def without_history(self) -> StreamConditions:
        """The same with the frames in flight alone."""
        return replace(self, history=None)

    def without_motion(self) -> StreamConditions:
        """The reference alone: facial embeddings and pose are 0."""
        motion = MotionFeatures(torch.zeros_like(self.motion.face), torch.zeros_like(self.motion.pose))
        return replace(self, motion=motion, history=None)

    def without_all(self, model: Denoiser) -> StreamConditions:
        """Nothing: besides, the image embedding is 0, and there are no tokens of the reference or a keyframe."""
        clip = torch.zeros_like(self.reference.clip)
        blind = replace(self.reference, clip=clip, context=model.project_image(clip))
        return replace(self.without_motion(), reference=blind, features=(None,) * len(self.features))


def predicted_noise(model: Denoiser, x: Tensor, timesteps: Tensor, seen: StreamConditions) -> Tensor:
    """Noise [B, F, 4, h, w] in the frames in flight `x` at `timesteps` [F]; the history stands before them, clean."""
    past = seen.history
    if past is None:
        return model.denoise(x, timesteps, seen.reference, seen.motion, seen.features)
    x = torch.cat([past.latents.to(x), x], 1)
    timesteps = functional.pad(timesteps, (len(past), 0))  # timestep 0, without a copy from the CPU
    eps = model.denoise(x, timesteps, seen.reference, past.motion.then(seen.motion), seen.features)
    return eps[:, len(past) :]


def fused_noise(model: Denoiser, x: Tensor, timesteps: Tensor, seen: StreamConditions, scales: Fusion) -> Tensor:
    """The same of up to four passes: nothing, the reference, and its motion, and the history, as `scales` weigh them.

    A pass of weight 0 is not run, so that scales of 1 are one pass. Without history there is no fourth.
    """
    makes = [lambda: seen.without_all(model), seen.without_motion, seen.without_history]
    if seen.history is not None:
        makes.append(lambda: seen)
    weights = fusion_weights(scales, len(makes))
    branches = [
        predicted_noise(model, x, timesteps, make()).float() if weight else None
        for make, weight in zip(makes, weights, strict=True)
    ]
    return fused(branches, scales)
