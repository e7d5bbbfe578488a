"""Inputs of the denoising UNet other than latents: reference keys and values, motion features."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

KV = tuple[Tensor, Tensor]  # attention keys and values, each [B, L, C]
LayerFeatures = tuple[KV, ...]  # one pair per transformer block that sees the reference, in execution order


@dataclass(frozen=True)
class MotionFeatures:
    """Hybrid motion as the denoising UNet takes it; kept only for frames in flight (5 MB per frame at 512x512)."""

    face: Tensor  # [B, F, L=32, D=16] 1-D implicit facial embedding
    pose: Tensor  # [B, F, C, h, w] pose-guider features of the drawn 3-D keypoints

    def then(self, later: MotionFeatures) -> MotionFeatures:
        """These frames, followed by those of `later`."""
        return MotionFeatures(torch.cat([self.face, later.face], 1), torch.cat([self.pose, later.pose], 1))

    def drop(self, frames: int) -> MotionFeatures:
        """All but the first `frames` frames."""
        return MotionFeatures(self.face[:, frames:], self.pose[:, frames:])

    def padded(self, frames: int) -> MotionFeatures:
        """Extends to at least `frames` frames: repeats the last frame as often as needed."""
        missing = max(frames - self.face.shape[1], 0)
        if not missing:
            return self
        return self.then(
            MotionFeatures(
                self.face[:, -1:].expand(-1, missing, -1, -1), self.pose[:, -1:].expand(-1, missing, -1, -1, -1)
            )
        )
